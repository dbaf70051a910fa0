"""Read and write audio files through libsndfile: whole files, as arrays of shape (C, T)."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ..errors import AudioError, OutputError, UsageError
from .formats import output_format

CLIP_MODES = ("clamp", "rescale", "none")

# Bits of the integer subtypes that are converted here, exactly: what was read comes back unchanged.
# (libsndfile reads 16 bits with 1/32768 and writes them with 32767.)
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_FLOAT = {"FLOAT", "DOUBLE"}
# float32 holds every other subtype exactly, or better than its codec does.
_NEED_DOUBLE = {"PCM_32", "DOUBLE", "ALAC_32"}


@dataclasses.dataclass(frozen=True)
class Recording:
    """Audio as it was read.

    ``samples`` has shape (C, T), full scale 1.0, float32 or (where float32 would lose bits) float64.
    ``rate`` is in Hz; ``container`` and ``subtype`` are libsndfile's names, such as WAV and PCM_16.
    """

    samples: np.ndarray
    rate: int
    container: str = "WAV"
    subtype: str = "PCM_16"

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples.shape[-1] / self.rate


def read(source: str | Path | bytes, name: str | None = None) -> Recording:
    """Read a whole file, or the bytes of one.

    ``name`` is what error messages call it. Raises AudioError, with a hint, for what is missing, empty,
    not audio, damaged, without samples, or not finite.
    """
    label = name or ("<stdin>" if isinstance(source, bytes) else str(source))
    with _opened(source, label) as stream:
        try:
            file = soundfile.SoundFile(stream)
        except (soundfile.LibsndfileError, TypeError):
            # A TypeError is soundfile's answer to .raw: no header says its rate.
            raise AudioError(
                f"{label} is not audio that can be read",
                "WAV, FLAC, OGG, MP3, AIFF and more can; convert it first",
            ) from None
        with file:
            dtype = "float64" if file.subtype in _NEED_DOUBLE else "float32"
            try:
                samples = np.ascontiguousarray(file.read(dtype=dtype, always_2d=True).T)
            except (soundfile.LibsndfileError, RuntimeError):
                raise AudioError(f"{label} is damaged or cut off", "copy or export it again") from None
            recording = Recording(samples, file.samplerate, file.format, file.subtype)
    _check(recording.samples, recording.rate, label)
    return recording


@contextmanager
def _opened(source: str | Path | bytes, label: str) -> Iterator[BinaryIO]:
    """The source as a seekable stream that is known to hold something."""
    if isinstance(source, bytes):
        if not source:
            raise AudioError(f"{label} is empty", "nothing came in")
        yield io.BytesIO(source)
        return
    path = Path(source)
    if path.is_dir():
        raise AudioError(f"{label} is a folder", "name a file in it")
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                raise AudioError(f"{label} is empty (0 bytes)", "was it recorded or copied to its end?")
            yield stream
    except FileNotFoundError:
        raise AudioError(f"{label} does not exist", "check the path") from None
    except OSError as error:
        raise AudioError(f"cannot read {label}: {error.strerror or error}", "check its permissions") from None


def _check(samples: np.ndarray, rate: int, label: str) -> None:
    if samples.shape[-1] == 0:
        raise AudioError(f"{label} holds no samples", "was it recorded to its end?")
    # The sum is finite when all are; only a suspicious file pays for the search.
    if not np.isfinite(samples.sum(dtype=np.float64)):
        bad = ~np.isfinite(samples).all(axis=0)
        if bad.any():
            raise AudioError(
                f"{label}: {int(bad.sum())} samples are NaN or infinite, the first at "
                f"{int(bad.argmax()) / rate:.3f} s",
                "repair the file, or export it again in an integer format",
            )


def fit(
    samples: np.ndarray, subtype: str, clip: str = "clamp", full_scale: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """Bring samples (C, T) into the range that ``subtype`` holds; the array is not changed in place.

    ``clamp`` limits what exceeds full scale, ``rescale`` turns the whole file down, ``none`` leaves it
    (integers then saturate when written). ``full_scale`` is what floats may reach: above 1 where the
    input did so itself. Returns the samples and warnings.
    """
    if clip not in CLIP_MODES:
        raise UsageError(f"unknown clip mode {clip!r}", "known: " + ", ".join(CLIP_MODES))
    limit = max(1.0, full_scale) if subtype in _FLOAT else 1.0
    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= limit:
        return samples, []
    count = int(np.count_nonzero(np.abs(samples) > limit))
    over = f"the peak is {20 * np.log10(peak / limit):.1f} dB over full scale"
    if clip == "rescale":
        gain = limit / peak
        return samples * gain, [f"{over}: turned down by {-20 * np.log10(gain):.1f} dB"]
    if clip == "clamp":
        return np.clip(samples, -limit, limit), [f"{over}: {count} samples clipped"]
    if subtype in _FLOAT:
        return samples, [f"{over}: {count} samples left as they are"]
    return samples, [f"{over}: {count} samples saturate"]


def encode(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    """The bytes of an audio file of samples (C, T), integers rounded and saturated, never wrapped."""
    if not np.isfinite(samples).all():
        raise AudioError("the samples to write are not finite", "this is a bug: report it with the recording")
    buffer = io.BytesIO()
    frames = np.ascontiguousarray(samples.T)
    bits = _INTEGER_BITS.get(subtype)
    if bits is not None:
        scale = 2.0 ** (bits - 1)
        integers = np.clip(np.rint(frames.astype(np.float64) * scale), -scale, scale - 1)
        # libsndfile takes integers left-aligned in 16 or 32 bits.
        width = 16 if bits <= 16 else 32
        frames = (integers * 2.0 ** (width - bits)).astype(np.int16 if width == 16 else np.int32)
    elif subtype not in _FLOAT:
        frames = np.clip(frames, -1.0, 1.0)
    try:
        soundfile.write(buffer, frames, rate, format=container, subtype=subtype)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError):
        channels = samples.shape[0]
        raise OutputError(
            f"{container} ({subtype}) cannot hold {channels} channel{'s' if channels > 1 else ''} at {rate} Hz",
            "write a .wav",
        ) from None
    return buffer.getvalue()


def write(path: str | Path, samples: np.ndarray, like: Recording, clip: str = "clamp") -> list[str]:
    """Write samples (C, T) at ``like.rate`` to ``path``, in ``like``'s container and subtype where it can.

    The extension of ``path`` decides about the container, see formats.output_format. The file appears
    complete or not at all: it is written under a temporary name in the same folder, synced and renamed.
    Returns warnings (clipping). Raises OutputError.
    """
    path = Path(path)
    container, subtype = output_format(path, like.container, like.subtype)
    samples, warnings = fit(samples, subtype, clip, float(np.abs(like.samples).max(initial=0.0)))
    write_bytes(path, encode(samples, like.rate, container, subtype))
    return warnings


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path``, sync, rename. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


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


def cannot_write(path: Path, error: OSError) -> OutputError:
    """An OSError in words."""
    return OutputError(f"cannot write {path}: {error.strerror or error}", "choose another place with -o")


def to_stdout_bytes(samples: np.ndarray, like: Recording, clip: str = "clamp") -> tuple[bytes, list[str]]:
    """A WAV of samples (C, T) for a pipe, complete with its length, and warnings.

    A WAV cannot be written straight to a pipe, since its header is filled in at the end.
    """
    container, subtype = output_format(Path("stdout.wav"), like.container, like.subtype)
    samples, warnings = fit(samples, subtype, clip, float(np.abs(like.samples).max(initial=0.0)))
    return encode(samples, like.rate, container, subtype), warnings
