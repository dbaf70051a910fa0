"""Read and write whole audio files, as arrays of shape (C, T)."""

from __future__ import annotations

import dataclasses
import os
import stat
import tempfile
from pathlib import Path

import numpy as np

from ..errors import OutputError
from .formats import output_format
from .raw import RawFormat
from .reader import Reader
from .writer import CLIP_MODES, Limiter, Writer, cannot_write

__all__ = [
    "CLIP_MODES", "RawFormat", "Recording", "fingerprint", "fit", "prepare_folder", "read", "to_bytes", "write",
]  # fmt: skip

_PART = 1 << 20  # frames that are converted at once when a file is written
# A header may promise this many bytes of samples for every byte of the file before it is mistrusted.
_EXPANSION = 256


@dataclasses.dataclass(frozen=True)
class Recording:
    """Audio as it was read.

    ``samples`` has shape (C, T), full scale 1.0, float32 or (where float32 would lose bits) float64.
    ``rate`` is in Hz; ``container`` and ``subtype`` are libsndfile's names, such as WAV and PCM_16.
    ``warnings`` says in words what is wrong with the file and did not keep it from being read.
    """

    samples: np.ndarray
    rate: int
    container: str = "WAV"
    subtype: str = "PCM_16"
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.rate


def read(source: str | Path | bytes, name: str | None = None, raw: RawFormat | None = None) -> Recording:
    """Read a whole file, or the bytes of one; ``raw`` says how to read what has no header.

    ``name`` is what error messages call it. Raises AudioError, with a hint, for what is missing, empty,
    not audio, damaged, without samples, or not finite.
    """
    label = name or ("<stdin>" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and Path(source).is_fifo():
        source = Path(source).read_bytes()
    if isinstance(source, bytes):
        with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
            path = Path(folder) / "stdin"
            path.write_bytes(source)
            return _read(Reader(path, label, raw))
    return _read(Reader(Path(source), label, raw))


def _read(reader: Reader) -> Recording:
    """Everything into one array, which is as long as the header promises where that can be."""
    most = _EXPANSION * reader.path.stat().st_size // (reader.channels * reader.dtype.itemsize)
    samples = np.empty((reader.channels, max(1, min(reader.frames, most))), reader.dtype)
    length = 0
    for block in reader.blocks():
        stop = length + block.shape[1]
        if stop > samples.shape[1]:
            grown = np.empty((reader.channels, max(stop, 2 * samples.shape[1])), reader.dtype)
            grown[:, :length] = samples[:, :length]
            samples = grown
        samples[:, length:stop] = block
        length = stop
    samples = np.ascontiguousarray(samples[:, :length])
    return Recording(samples, reader.rate, reader.container, reader.subtype, tuple(reader.warnings))


def fit(
    samples: np.ndarray, subtype: str, clip: str = "clamp", full_scale: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """Bring samples (C, T) into the range that ``subtype`` holds, as :class:`Limiter` says.

    Returns the samples and warnings.
    """
    limiter = Limiter(subtype, clip, peak(samples), full_scale)
    return limiter.apply(samples), limiter.warnings()


def write(path: str | Path, samples: np.ndarray, like: Recording, clip: str = "clamp") -> list[str]:
    """Write samples (C, T) at ``like.rate`` to ``path``, in ``like``'s container and subtype where it can.

    The extension of ``path`` decides about the container, see formats.output_format. Integers are rounded
    and saturate, they never wrap. The file appears complete or not at all. Returns warnings (clipping).
    Raises OutputError.
    """
    path = Path(path)
    container, subtype = output_format(path, like.container, like.subtype)
    limiter = Limiter(subtype, clip, peak(samples), peak(like.samples))
    with Writer(path, like.rate, samples.shape[0], container, subtype) as writer:
        # In parts, since what is stored is another copy, at times in double precision.
        for start in range(0, samples.shape[-1], _PART):
            writer.write(limiter.apply(samples[:, start : start + _PART]))
    return limiter.warnings()


def to_bytes(samples: np.ndarray, like: Recording, clip: str = "clamp") -> tuple[bytes, list[str]]:
    """Samples (C, T) for a pipe, and warnings: a complete WAV, or bare samples where they came so.

    A WAV cannot be written straight to a pipe, since its header is filled in at the end.
    """
    with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
        path = Path(folder) / ("stdout.raw" if like.container == "RAW" else "stdout.wav")
        warnings = write(path, samples, like, clip)
        return path.read_bytes(), warnings


def peak(samples: np.ndarray) -> float:
    """The largest magnitude, without a copy."""
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))


def fingerprint(path: Path) -> tuple[int, ...] | None:
    """What is another after a file has changed; None where there is no file, or a pipe."""
    try:
        found = path.stat()
    except OSError:
        return None  # what is wrong with it is said by the one who reads it
    # A pipe has no size, and its times change as it is read.
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def prepare_folder(path: Path) -> None:
    """Make the folder that ``path`` goes into and see that it can be written to. Raises OutputError.

    Called before the computing starts: hours of work should not end in a full stop.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder", "name a file, or end the name with /")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}: no permission in {path.parent}", "choose another place with -o"
        )
