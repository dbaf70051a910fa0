"""Folders of sound files: their paths, their samples at a given rate, and their digests."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile as sf

from ..audio.resample import resample
from ..errors import AudioError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".caf", ".sph"})


def list_audio(root: Path) -> list[str]:
    """Relative POSIX paths of the sound files under ``root``, sorted."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def read(path: Path, channel: int | None = None) -> tuple[np.ndarray, int]:
    """Samples (T,) in float64 and the rate in Hz.

    ``channel`` selects a channel; None requires a mono file. Raises AudioError with the file's name where it is
    missing, empty, unreadable, or has several channels without a selection.
    """
    try:
        samples, rate = sf.read(path, dtype="float64", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"cannot read {path}: {error}", "check that it is an intact sound file") from error
    if samples.shape[0] == 0:
        raise AudioError(f"{path} holds no samples")
    if channel is None:
        if samples.shape[1] != 1:
            raise AudioError(
                f"{path} has {samples.shape[1]} channels; one was expected", "extract the channel to be scored"
            )
        channel = 0
    return np.ascontiguousarray(samples[:, channel]), int(rate)


def read_at(path: Path, rate: int, channel: int | None = None) -> np.ndarray:
    """Samples (T,) in float64 at ``rate`` Hz, resampled by soxr (quality HQ) if the file has another rate."""
    samples, native = read(path, channel)
    return resample(samples, native, rate)


def frames_at(path: Path, rate: int) -> int:
    """Number of samples that :func:`read_at` returns, from the header alone (approximate if resampled)."""
    try:
        info = sf.info(path)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"cannot read {path}: {error}", "check that it is an intact sound file") from error
    return int(info.frames) if info.samplerate == rate else round(info.frames * rate / info.samplerate)


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, cached as long as its size and date stay the same."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)
