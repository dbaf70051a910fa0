"""Output files of the commands about priors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..audio import files
from ..errors import OutputError
from .common import say


def new_file(output: str | Path, overwrite: bool) -> Path:
    """The path of an output; makes its folder. Raises OutputError where the file exists."""
    path = Path(output)
    files.prepare_folder(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already", "give --overwrite, or another -o")
    return path


def write_voice(sound: Any, signal: Any, path: Path) -> None:
    """Write sound (T,) that is at the prior's level, at an active level of -26 dBFS, which is usual for
    speech."""
    sound = sound * (10 ** (-26 / 20) / signal.active_rms)
    for warning in files.write(path, sound[None], files.Recording(sound[None], signal.rate), "rescale"):
        say(f"warning: {warning}")
    say(f"wrote {path}")
