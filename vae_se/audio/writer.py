"""Write audio files in blocks, with libsndfile; a file appears when it is complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from ..errors import AudioError, OutputError, UsageError
from ..storage.atomic import sync_folder

CLIP_MODES = ("clamp", "rescale", "none")

# Bits of the integer subtypes. They are converted here, so that samples that were read are written back
# unchanged: libsndfile reads 16 bits with a factor of 1/32768 and writes them with 32767.
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_FLOAT = {"FLOAT", "DOUBLE"}
_ADD_PEAK_CHUNK = 0x1050  # constant of sndfile.h that soundfile does not define

# Containers whose tags may follow the samples: programs that expect the samples after 44 bytes find them there.
_TAGS_LAST = {"WAV", "WAVEX", "RF64", "AIFF", "CAF"}


class Limiter:
    """Brings samples with a known ``peak`` into the range of ``subtype``, block by block.

    ``clip``: "clamp" limits samples beyond full scale, "rescale" scales the whole file down, "none" leaves them
    (integers saturate when they are written). ``full_scale``: largest magnitude of float samples, above 1 if
    the input exceeds 1. Raises UsageError for an unknown mode.
    """

    def __init__(self, subtype: str, clip: str, peak: float, full_scale: float = 1.0) -> None:
        if clip not in CLIP_MODES:
            raise UsageError(f"unknown clip mode {clip!r}", "known: " + ", ".join(CLIP_MODES))
        self._limit = max(1.0, full_scale) if subtype in _FLOAT else 1.0
        self._clip, self._peak, self._floats = clip, peak, subtype in _FLOAT
        self._count = 0

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """The samples in range; does not change its argument."""
        if self._peak <= self._limit:
            return samples
        self._count += int(np.count_nonzero(np.abs(samples) > self._limit))
        if self._clip == "rescale":
            return samples * (self._limit / self._peak)
        return np.clip(samples, -self._limit, self._limit) if self._clip == "clamp" else samples

    def warnings(self) -> list[str]:
        """A warning with the number of changed samples, or none."""
        if self._peak <= self._limit:
            return []
        over = 20 * np.log10(self._peak / self._limit)
        done = f"{self._count} samples " + ("left as they are" if self._floats else "saturate")
        if self._clip == "rescale":
            done = f"turned down by {over:.1f} dB"
        elif self._clip == "clamp":
            done = f"{self._count} samples clipped"
        return [f"the peak is {over:.1f} dB over full scale: {done}"]


class Writer:
    """``with Writer(...) as writer: writer.write(samples)``: the file appears at the end of the block.

    It is written under a temporary name in the same folder, synced and renamed; an exception in the block
    removes it. ``container`` and ``subtype`` are libsndfile's names. ``comment``: a tag of the file; it is left
    out where the container has no tags. Raises OutputError where the file cannot be written, or the container
    does not support the channels or the rate.
    """

    def __init__(
        self, path: Path, rate: int, channels: int, container: str, subtype: str, comment: str = ""
    ) -> None:
        self.path, self._subtype, self._comment = path, subtype, comment
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._format = (rate, channels, container)

    def __enter__(self) -> Writer:
        rate, channels, container = self._format
        try:
            with self._temporary.open("xb"):
                pass
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            # Open by path, for the reason given in Reader.
            self._file = soundfile.SoundFile(
                self._temporary, "w", rate, channels, self._subtype,
                endian="LITTLE" if container == "RAW" else None, format=container,
            )  # fmt: skip
            # No chunk with the peak and the time: the same samples give the same file.
            soundfile._snd.sf_command(self._file._file, _ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
            if container not in _TAGS_LAST:
                self._tag()
        except (soundfile.LibsndfileError, ValueError, TypeError):
            self._temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{container} ({self._subtype}) cannot hold {channels} channel{'s' if channels > 1 else ''} "
                f"at {rate} Hz",
                "write a .wav",
            ) from None
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        return self

    def write(self, samples: np.ndarray) -> None:
        """Write the next samples (C, T); integers are rounded and saturate.

        Raises AudioError for samples that are not finite, OutputError where the file cannot be written.
        """
        if not np.isfinite(samples).all():
            raise AudioError(
                "the samples to write are not finite", "this is a bug: report it with the recording"
            )
        try:
            self._file.write(_as_stored(samples, self._subtype))
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise self._failed(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                if self._format[2] in _TAGS_LAST:
                    self._tag()
                self._file.close()
            except (soundfile.LibsndfileError, AssertionError) as failure:
                raise self._failed(failure) from None
            if kind is None:
                with self._temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                self._temporary.replace(self.path)
                sync_folder(self.path.parent)
        except OSError as failure:
            raise cannot_write(self.path, failure) from None
        finally:
            self._temporary.unlink(missing_ok=True)

    def _tag(self) -> None:
        if self._comment:
            with contextlib.suppress(soundfile.LibsndfileError):  # a container without tags
                self._file.comment = self._comment

    def _failed(self, error: Exception) -> OutputError:
        reason = getattr(error, "error_string", "") or "not everything was written"
        return cannot_write(self.path, OSError(reason))


def _as_stored(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Samples (C, T) as (T, C) in the number format of ``subtype``."""
    frames = np.ascontiguousarray(samples.T)
    bits = _INTEGER_BITS.get(subtype)
    if bits is None:
        return frames if subtype in _FLOAT else np.clip(frames, -1.0, 1.0)
    scale = 2.0 ** (bits - 1)
    integers = np.clip(np.rint(frames.astype(np.float64) * scale), -scale, scale - 1)
    # libsndfile expects integers left-aligned in 16 or 32 bits.
    width = 16 if bits <= 16 else 32
    return (integers * 2.0 ** (width - bits)).astype(np.int16 if width == 16 else np.int32)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """An OutputError for an OSError."""
    return OutputError(f"cannot write {path}: {error.strerror or error}", "choose another place with -o")
