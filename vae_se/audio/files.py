"""Read and write audio files through libsndfile: whole files, as arrays of shape (C, T)."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from ..errors import AudioError, OutputError, UsageError
from .formats import output_format

CLIP_MODES = ("clamp", "rescale", "none")

# Bits of the integer subtypes that are converted here, exactly: what was read comes back unchanged.
# (libsndfile reads 16 bits with 1/32768 and writes them with 32767.)
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_FLOAT = {"FLOAT", "DOUBLE"}
_PART = 1 << 20  # frames that are converted at once when a file is written
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
    if not isinstance(source, bytes) and Path(source).is_fifo():
        source = Path(source).read_bytes()
    if isinstance(source, bytes):
        with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
            path = Path(folder) / "stdin"
            path.write_bytes(source)
            recording = _read(path, label)
    else:
        recording = _read(Path(source), label)
    _check(recording.samples, recording.rate, label)
    return recording


def _read(path: Path, label: str) -> Recording:
    # By path, never through a Python file object: libsndfile calls that back from C, where an exception
    # (^C, a read error) is swallowed, and the file would silently be shorter.
    _see_that_there_is_something(path, label)
    try:
        file = soundfile.SoundFile(path)
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
        return Recording(samples, file.samplerate, file.format, file.subtype)


def _see_that_there_is_something(path: Path, label: str) -> None:
    """AudioError in plain words for what libsndfile would only call a system error."""
    if path.is_dir():
        raise AudioError(f"{label} is a folder", "name a file in it")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except FileNotFoundError:
        raise AudioError(f"{label} does not exist", "check the path") from None
    except OSError as error:
        raise AudioError(f"cannot read {label}: {error.strerror or error}", "check its permissions") from None
    if empty:
        raise AudioError(f"{label} is empty (0 bytes)", "was it recorded or copied to its end?")


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
    peak = _peak(samples)
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


def write(path: str | Path, samples: np.ndarray, like: Recording, clip: str = "clamp") -> list[str]:
    """Write samples (C, T) at ``like.rate`` to ``path``, in ``like``'s container and subtype where it can.

    The extension of ``path`` decides about the container, see formats.output_format. Integers are rounded
    and saturate, they never wrap. The file appears complete or not at all: it is written under a temporary
    name in the same folder, synced and renamed. Returns warnings (clipping). Raises OutputError.
    """
    path = Path(path)
    container, subtype = output_format(path, like.container, like.subtype)
    samples, warnings = fit(samples, subtype, clip, _peak(like.samples))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("xb"):
                pass
            _write(temporary, samples, like.rate, container, subtype)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    return warnings


def to_bytes(samples: np.ndarray, like: Recording, clip: str = "clamp") -> tuple[bytes, list[str]]:
    """A WAV of samples (C, T) for a pipe, complete with its length, and warnings.

    A WAV cannot be written straight to a pipe, since its header is filled in at the end.
    """
    with tempfile.TemporaryDirectory(prefix="vae-se-") as folder:
        path = Path(folder) / "stdout.wav"
        warnings = write(path, samples, like, clip)
        return path.read_bytes(), warnings


def _write(path: Path, samples: np.ndarray, rate: int, container: str, subtype: str) -> None:
    """Write by path, for the reason given in :func:`_read`. OSError where the disk is at fault."""
    if not np.isfinite(samples).all():
        raise AudioError("the samples to write are not finite", "this is a bug: report it with the recording")
    channels = samples.shape[0]
    try:
        file = soundfile.SoundFile(path, "w", rate, channels, subtype, format=container)
    except (soundfile.LibsndfileError, ValueError, TypeError):
        raise OutputError(
            f"{container} ({subtype}) cannot hold {channels} channel{'s' if channels > 1 else ''} at {rate} Hz",
            "write a .wav",
        ) from None
    try:
        with file:
            # In parts, since what is stored is another copy, at times in double precision.
            for start in range(0, samples.shape[-1], _PART):
                file.write(_as_stored(samples[:, start : start + _PART], subtype))
    except (soundfile.LibsndfileError, AssertionError) as error:
        raise OSError(getattr(error, "error_string", "") or "not everything was written") from None


def _peak(samples: np.ndarray) -> float:
    """The largest magnitude, without a copy."""
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))


def _as_stored(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Samples (C, T) as frames (T, C) of what ``subtype`` holds."""
    frames = np.ascontiguousarray(samples.T)
    bits = _INTEGER_BITS.get(subtype)
    if bits is None:
        return frames if subtype in _FLOAT else np.clip(frames, -1.0, 1.0)
    scale = 2.0 ** (bits - 1)
    integers = np.clip(np.rint(frames.astype(np.float64) * scale), -scale, scale - 1)
    # libsndfile takes integers left-aligned in 16 or 32 bits.
    width = 16 if bits <= 16 else 32
    return (integers * 2.0 ** (width - bits)).astype(np.int16 if width == 16 else np.int32)


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
