"""The environment of a run: versions of libraries, and the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from ..data.manifest import library_versions
from ..portable import usable_cores

_LIBRARIES = ("torch", "numpy", "scipy", "soundfile", "soxr", "pesq", "pystoi", "noisereduce", "pyrnnoise")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that scores may depend on."""
    return {"python": platform.python_version(), **library_versions(*_LIBRARIES)}


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory in GiB and operating system; no host or user name."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    cores = usable_cores()
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {"processor": model, "cores": cores, "memory_gib": memory, "system": platform.system()}
