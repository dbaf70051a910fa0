"""Folders that are computed once, kept on disk, and appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import OutputError

#: The file that is written last: a folder with it is complete.
INDEX = "index.json"

_STALE_SECONDS = 3600  # an unfinished folder untouched for this long belongs to a run that was killed


def default_cache() -> Path:
    """$XDG_CACHE_HOME/vae-se/features, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vae-se" / "features"


def keep(folder: Path, fill: Callable[[Path], None]) -> None:
    """Where ``folder`` is not there yet, have ``fill`` write what belongs in it, under another name until then.

    Raises OutputError where the folder cannot be written, and what ``fill`` raises; nothing is left then.
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
            if not (folder / INDEX).is_file():  # else another run was faster, with the same content
                raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder.parent}: {error}", "choose another place with --cache DIR"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    for leftover in folder.parent.glob(f".{folder.name}.*.partial"):
        newest = max((p.stat().st_mtime for p in [leftover, *leftover.iterdir()]), default=0.0)
        if time.time() - newest > _STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
