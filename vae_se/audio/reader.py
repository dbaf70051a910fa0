"""Audio files in parts, through libsndfile: neither an hour nor a header that lies costs memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..errors import AudioError
from .raw import RawFormat
from .resample import check_rate

#: Samples (of all channels together) that are read at once.
BLOCK = 1 << 18

#: 300 dB over full scale: what exceeds it is damage, and its square would overflow.
LOUDEST = 1e15
# float32 holds every other subtype exactly, or better than its codec does.
_NEED_DOUBLE = {"PCM_32", "DOUBLE", "ALAC_32"}
# What libsndfile notes where a header promises more bytes than there are.
_MISSING = re.compile(r"(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)")
# libsndfile says what it thinks of a damaged one on stdout, in the middle of the data.
_SAMPLE_DUMP = b"\xf0\x7e"
# Programs that write into a pipe cannot know the length, and promise about as much as the field holds.
_UNKNOWN_LENGTH = 0x7FFF0000


def is_sound(samples: np.ndarray) -> bool:
    """Whether all samples are finite, and no larger than LOUDEST."""
    # False for NaN, too.
    return bool(samples.size == 0 or (samples.max() <= LOUDEST and samples.min() >= -LOUDEST))


class Reader:
    """One audio file; ``rate`` in Hz, ``channels``, and libsndfile's names of ``container`` and ``subtype``.

    ``frames`` is the length that the header claims. ``dtype`` is float32 or, where float32 would lose bits,
    float64. ``label`` is what messages call the file. Raises AudioError, with a hint, for what is missing,
    empty, or not audio.
    """

    def __init__(self, path: Path, label: str | None = None, raw: RawFormat | None = None) -> None:
        self.path, self.label, self._raw = path, label or str(path), raw
        _see_that_there_is_something(path, self.label)
        with self._open() as file:
            self.rate, self.channels, self.frames = file.samplerate, file.channels, file.frames
            self.container, self.subtype = file.format, file.subtype
            self._notes = file.extra_info
        check_rate(self.rate, self.label)
        self.dtype = np.dtype("float64" if self.subtype in _NEED_DOUBLE else "float32")
        self.warnings: list[str] = []

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples from the first on, in parts (C, T), full scale 1.0; every call starts anew.

        At the end ``warnings`` says whether there was less than the header promises. Raises AudioError for
        what is damaged, holds no samples, or samples that are not finite.
        """
        length, read = max(1, BLOCK // self.channels), 0
        with self._open() as file:
            while True:
                part = self._part(file, length)
                if not len(part):
                    break
                if not is_sound(part):
                    self._complain(file, part, read, length)
                read += len(part)
                yield np.ascontiguousarray(part.T)
        if not read:
            raise AudioError(f"{self.label} holds no samples", "was it recorded to its end?")
        self.warnings = [f"the file is cut off: {read / self.rate:.1f} s are there"] if self._cut(read) else []

    def _open(self) -> soundfile.SoundFile:
        # By path, never through a Python file object: libsndfile calls that back from C, where an exception
        # (^C, a read error) is swallowed, and the file would silently be shorter.
        try:
            if self._raw is None:
                return soundfile.SoundFile(self.path)
            raw = self._raw
            return soundfile.SoundFile(
                self.path, "r", raw.rate, raw.channels, raw.subtype, endian="LITTLE", format="RAW"
            )
        except (soundfile.LibsndfileError, TypeError, ValueError):
            # A TypeError is soundfile's answer to .raw: no header says its rate.
            raise AudioError(
                f"{self.label} is not audio that can be read",
                "WAV, FLAC, OGG, MP3, AIFF and more can; convert it first, or give --raw for bare samples",
            ) from None

    def _part(self, file: soundfile.SoundFile, length: int) -> np.ndarray:
        try:
            part: np.ndarray = file.read(length, dtype=str(self.dtype), always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError):
            raise AudioError(f"{self.label} is damaged or cut off", "copy or export it again") from None
        return part

    def _complain(self, file: soundfile.SoundFile, part: np.ndarray, read: int, length: int) -> None:
        """AudioError with how many samples are no sound in the rest of the file."""
        first, count, finite = None, 0, True
        while len(part):
            bad = ~(np.abs(part) <= LOUDEST).all(axis=1)
            finite = finite and bool(np.isfinite(part).all())
            count += int(bad.sum())
            if first is None:
                first = (read + int(bad.argmax())) / self.rate
            part = self._part(file, length)
        kind = f"beyond {LOUDEST:g}" if finite else "NaN or infinite"
        raise AudioError(
            f"{self.label}: {count} samples are {kind}, the first at {first:.3f} s",
            "repair the file, or export it again in an integer format",
        )

    def _cut(self, read: int) -> bool:
        # MPEG headers count frames; the others bytes, and libsndfile has corrected the number of frames.
        if read < self.frames:
            return True
        return any(
            int(there) < int(promised) < _UNKNOWN_LENGTH for promised, there in _MISSING.findall(self._notes)
        )


def _see_that_there_is_something(path: Path, label: str) -> None:
    """AudioError in plain words for what libsndfile would only call a system error."""
    if path.is_dir():
        raise AudioError(f"{label} is a folder", "name a file in it")
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
    except FileNotFoundError:
        raise AudioError(f"{label} does not exist", "check the path") from None
    except OSError as error:
        raise AudioError(f"cannot read {label}: {error.strerror or error}", "check its permissions") from None
    if start == _SAMPLE_DUMP:
        raise AudioError(f"{label} is a MIDI sample dump", "convert it to WAV first")
    if not start:
        raise AudioError(f"{label} is empty (0 bytes)", "was it recorded or copied to its end?")
