"""Files that the commands about priors write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..audio import files
from ..errors import OutputError
from .common import say


def new_file(output: str | Path, overwrite: bool) -> Path:
    """The path to write to, its folder made; OutputError where there is a file already."""
    path = Path(output)
    files.prepare_folder(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "give --overwrite, or another -o")
    return path


def write_voice(sound: Any, signal: Any, path: Path) -> None:
    """Write sound (T,) at the prior's level: speech has a crest of about 20 dB, -26 dBFS is its usual level."""
    sound = sound * (10 ** (-26 / 20) / signal.active_rms)
    for warning in files.write(path, sound[None], files.Recording(sound[None], signal.rate), "rescale"):
        say(f"warning: {warning}")
    say(f"wrote {path}")
