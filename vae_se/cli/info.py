"""``vae-se info``: versions, devices and installed extras."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
from typing import Any

import click

_LIBRARIES = ("torch", "numpy", "scipy", "soundfile", "soxr", "safetensors", "click", "tqdm")
_EXTRAS = {
    "metrics": ("pesq", "pystoi"),
    "dnsmos": ("speechmos", "onnxruntime"),
    "onnx": ("onnx", "onnxruntime"),
    "plot": ("matplotlib",),
    "train": ("tensorboard", "matplotlib"),
    "baselines": ("noisereduce", "pyrnnoise"),
    "live": ("sounddevice",),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def info(as_json: bool) -> None:
    """Show versions, devices and installed extras, for bug reports."""
    found = gather()
    if as_json:
        click.echo(json.dumps(found))
        return
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(value) or "none"
        click.echo(f"{key + ':':<12} {value}")


def gather() -> dict[str, Any]:
    """The entries of ``vae-se info``, JSON-able."""
    import soundfile
    import torch

    from .. import __version__
    from ..assemble import METHODS
    from ..baselines import BASELINES
    from ..inference.estep import ESTEPS
    from ..noise import NOISES
    from ..priors import store

    devices = ["cpu"]
    devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return {
        "vae-se": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": devices,
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "libsndfile": soundfile.__libsndfile_version__,
        "formats": sorted(soundfile.available_formats()),
        "extras": {name: _state(modules) for name, modules in _EXTRAS.items()},
        "methods": list(METHODS),
        "E-steps": list(ESTEPS),
        "noise": list(NOISES),
        "baselines": list(BASELINES),
        "priors": store.names(),
        "priors in": str(store.pretrained_folder()),
    }


def _state(modules: tuple[str, ...]) -> str:
    """The word installed, or the names of the missing modules."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return "missing " + " and ".join(missing) if missing else "installed"
