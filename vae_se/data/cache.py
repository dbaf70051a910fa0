"""A cache of folders that are computed once; a folder appears only when it is complete."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import OutputError

#: The file that is written last; a folder that has it is complete.
INDEX = "index.json"

_STALE_SECONDS = 3600  # an unfinished folder that old belongs to a killed process


def default_cache() -> Path:
    """$XDG_CACHE_HOME/vae-se/features, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vae-se" / "features"


def keep(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create ``folder`` by ``fill``, unless it exists; until it is complete it has another name.

    Raises OutputError where it cannot be written, and the errors of ``fill``; then nothing is left behind.
    """
    if (folder / INDEX).is_file():
        return
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        fill(partial)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / INDEX).is_file():  # otherwise another process has written the same content
                raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder.parent}: {error}", "choose another folder with --cache DIR"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    for leftover in folder.parent.glob(f".{folder.name}.*.partial"):
        newest = max((p.stat().st_mtime for p in [leftover, *leftover.iterdir()]), default=0.0)
        if time.time() - newest > _STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
