"""Output files of several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..audio import files
from ..errors import OutputError
from ..storage.atomic import write_atomically
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


def write_text(path: str, text: str) -> None:
    """Write ``text`` to a file, atomically, or to stdout for ``-``. Raises OutputError."""
    if path == "-":
        click.echo(text, nl=False)
        return
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.encode())
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}", "check the folder and the free space"
        ) from error
    say(f"wrote {path}")
