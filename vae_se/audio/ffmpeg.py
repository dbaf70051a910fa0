"""Run the programs ffmpeg and ffprobe, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from ..errors import AudioError

#: ffmpeg opens only these containers, and only files: a playlist could name further files or addresses.
SAFE = (
    "-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,webm,asf,avi,aac,mp3,wav",
)  # fmt: skip


def available() -> bool:
    """Whether ffmpeg and ffprobe are on the path."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def install_command() -> str:
    """The command that installs ffmpeg on this system."""
    commands = {"darwin": "brew install ffmpeg", "win32": "winget install ffmpeg"}
    return commands.get(sys.platform, "sudo apt-get install ffmpeg")


def without_ffmpeg(path: PurePath, label: str) -> AudioError:
    """The error for a file that needs ffmpeg where there is none."""
    name = str(path)
    return AudioError(
        f"{label} needs ffmpeg, which is not installed",
        f"{install_command()}; or, on a machine that has it: ffmpeg -i '{name}' '{PurePath(name).stem}.wav'",
    )


def url(path: Path) -> str:
    """The path in a form that ffmpeg takes for neither an option nor an address."""
    return f"file:{path.absolute()}"


def run(program: str, arguments: Sequence[str], path: PurePath, label: str) -> str:
    """Run ffmpeg or ffprobe and return what it prints. Raises AudioError with its last message."""
    if not available():
        raise without_ffmpeg(path, label)
    done = subprocess.run(
        [program, "-v", "error", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1].replace("file:", "") if lines else f"it ended with status {done.returncode}"
        raise AudioError(f"{label}: ffmpeg cannot process it: {reason}", "copy or export it again")
    return done.stdout.decode(errors="replace")
