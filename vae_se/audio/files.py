"""Read and write whole audio files as arrays (C, T)."""

from __future__ import annotations

import dataclasses
import os
import stat
import tempfile
from pathlib import Path

import numpy as np

from ..errors import OutputError
from .formats import is_media_name, output_format
from .media import new_writer, opened
from .raw import RawFormat
from .reader import Reader
from .writer import CLIP_MODES, Limiter, cannot_write

__all__ = [
    "CLIP_MODES", "RawFormat", "Recording", "fingerprint", "fit", "prepare_folder", "read", "to_bytes", "write",
]  # fmt: skip

_BLOCK = 1 << 20  # samples per channel that are converted at once when a file is written
# Largest ratio of decoded bytes, as announced by a header, to bytes of the file that memory is reserved for.
_EXPANSION = 256


@dataclasses.dataclass(frozen=True)
class Recording:
    """Contents of an audio file.

    ``samples``: (C, T), full scale 1.0, float32, or float64 where float32 would lose bits. ``rate`` in Hz.
    ``container`` and ``subtype``: libsndfile's names, such as WAV and PCM_16. ``warnings``: defects of the file
    that did not prevent reading it. ``origin``: the file, where ffmpeg decoded it; an output of such a type
    gets copies of its pictures.
    """

    samples: np.ndarray
    rate: int
    container: str = "WAV"
    subtype: str = "PCM_16"
    warnings: tuple[str, ...] = ()
    origin: Path | None = None

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.shape[-1] / self.rate


def read(source: str | Path | bytes, name: str | None = None, raw: RawFormat | None = None) -> Recording:
    """Read a whole file, or the bytes of a file.

    ``name``: of the file in error messages. ``raw``: format of a file without a header. Raises AudioError for a
    file that is missing, empty, damaged, no audio, without samples, or with samples that are not finite.
    """
    label = name or ("<stdin>" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and Path(source).is_fifo():
        source = Path(source).read_bytes()
    if isinstance(source, bytes):
        with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
            path = Path(folder) / "stdin"
            path.write_bytes(source)
            return _read(Reader(path, label, raw))
    path = Path(source)
    with opened(path, label, raw) as reader:
        recording = _read(reader)
    return dataclasses.replace(recording, origin=path) if is_media_name(path) and raw is None else recording


def _read(reader: Reader) -> Recording:
    """Read all samples into one array, whose initial length is that of the header, if it is plausible."""
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
    """Bring samples (C, T) into the range of ``subtype``, see :class:`Limiter`. Returns samples and
    warnings."""
    limiter = Limiter(subtype, clip, peak(samples), full_scale)
    return limiter.apply(samples), limiter.warnings()


def write(
    path: str | Path, samples: np.ndarray, like: Recording, clip: str = "clamp", comment: str = ""
) -> list[str]:
    """Write samples (C, T) at ``like.rate`` to ``path``, in the container and subtype of ``like`` if possible.

    The extension of ``path`` determines the container, see :func:`~vae_se.audio.formats.output_format`.
    Integers are rounded and saturate. The file appears when it is complete. ``comment``: a tag of the file,
    where its format has tags. Returns warnings about clipping. Raises OutputError.
    """
    path = Path(path)
    container, subtype = output_format(path, like.container, like.subtype)
    limiter = Limiter(subtype, clip, peak(samples), peak(like.samples))
    with new_writer(path, like.rate, samples.shape[0], container, subtype, like.origin, comment) as writer:
        # In blocks, since the conversion makes a copy, partly in double precision.
        for start in range(0, samples.shape[-1], _BLOCK):
            writer.write(limiter.apply(samples[:, start : start + _BLOCK]))
    return limiter.warnings()


def to_bytes(samples: np.ndarray, like: Recording, clip: str = "clamp") -> tuple[bytes, list[str]]:
    """Samples (C, T) as bytes for a pipe, and warnings: a WAV, or samples without a header if ``like`` has
    none.

    A WAV cannot be written to a pipe directly, since its header is completed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
        path = Path(folder) / ("stdout.raw" if like.container == "RAW" else "stdout.wav")
        warnings = write(path, samples, like, clip)
        return path.read_bytes(), warnings


def peak(samples: np.ndarray) -> float:
    """Largest magnitude, computed without a copy."""
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))


def fingerprint(path: Path) -> tuple[int, ...] | None:
    """Values that differ after a file has changed; None for a missing file or a pipe."""
    try:
        found = path.stat()
    except OSError:
        return None  # reading the file reports the error
    # A pipe has no size, and its times change while it is read.
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def prepare_folder(path: Path) -> None:
    """Make the folder of ``path`` and check that it can be written to. Raises OutputError.

    Call it before a long computation, so that it does not fail at its end.
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
