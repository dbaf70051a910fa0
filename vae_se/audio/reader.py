"""Read audio files in blocks, with libsndfile: memory grows neither with the file nor with a false header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..errors import AudioError
from .paths import missing_file
from .raw import RawFormat
from .resample import check_rate

#: Samples of all channels together that are read at once.
BLOCK = 1 << 18

#: 300 dB over full scale. Larger samples come from damage, and their squares would overflow.
LOUDEST = 1e15
# float32 represents all other subtypes exactly, or more precisely than their codec.
_NEED_DOUBLE = {"PCM_32", "DOUBLE", "ALAC_32"}
# Notes of libsndfile about a header that announces more bytes than the file has.
_MISSING = re.compile(r"(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)")
# First bytes of a MIDI sample dump. libsndfile prints to stdout, among the data, if such a file is damaged.
_SAMPLE_DUMP = b"\xf0\x7e"
# Programs that write to a pipe do not know the length and announce about as much as the field can hold.
_UNKNOWN_LENGTH = 0x7FFF0000


def is_sound(samples: np.ndarray) -> bool:
    """Whether all samples are finite and their magnitudes at most LOUDEST."""
    # Comparisons with NaN are false.
    return bool(samples.size == 0 or (samples.max() <= LOUDEST and samples.min() >= -LOUDEST))


class Reader:
    """An audio file that is read in blocks.

    ``rate`` in Hz; number of ``channels``; libsndfile's names of ``container`` and ``subtype``. ``frames``:
    samples per channel according to the header. ``dtype``: float32, or float64 where float32 would lose bits.
    ``label``: name of the file in messages. Raises AudioError for a file that is missing, empty or no audio.
    """

    def __init__(self, path: Path, label: str | None = None, raw: RawFormat | None = None) -> None:
        self.path, self.label, self._raw = path, label or str(path), raw
        check_readable(path, self.label)
        with self._open() as file:
            self.rate, self.channels, self.frames = file.samplerate, file.channels, file.frames
            self.container, self.subtype = file.format, file.subtype
            self._notes = file.extra_info
        check_rate(self.rate, self.label)
        self.dtype = np.dtype("float64" if self.subtype in _NEED_DOUBLE else "float32")
        self.remarks: tuple[str, ...] = ()  # warnings that are known before the samples are read
        self.warnings: list[str] = []

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples in blocks (C, T), full scale 1.0; each call starts at the first sample.

        At the end, ``warnings`` says whether the file is shorter than its header announces. Raises AudioError
        for a file that is damaged or has no samples, and for samples that are not finite.
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
            raise AudioError(f"{self.label} has no samples", "was it recorded completely?")
        self.warnings = [*self.remarks]
        if self._cut(read):
            self.warnings.append(f"the file is cut off: {read / self.rate:.1f} s can be read")

    def _open(self) -> soundfile.SoundFile:
        # Open by path, not through a Python file object: libsndfile would call the object back from C, which
        # swallows exceptions (^C, a read error), so that the file would silently be shorter.
        try:
            if self._raw is None:
                return soundfile.SoundFile(self.path)
            raw = self._raw
            return soundfile.SoundFile(
                self.path, "r", raw.rate, raw.channels, raw.subtype, endian="LITTLE", format="RAW"
            )
        except (soundfile.LibsndfileError, TypeError, ValueError):
            # soundfile raises TypeError for .raw, which has no header with a rate.
            raise AudioError(
                f"{self.label} is not audio that can be read",
                "use WAV, FLAC, OGG, MP3, AIFF and the like, or give --raw for samples without a header",
            ) from None

    def _part(self, file: soundfile.SoundFile, length: int) -> np.ndarray:
        try:
            part: np.ndarray = file.read(length, dtype=str(self.dtype), always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError):
            raise AudioError(f"{self.label} is damaged or cut off", "copy or export it again") from None
        return part

    def _complain(self, file: soundfile.SoundFile, part: np.ndarray, read: int, length: int) -> None:
        """Raise AudioError with the number of invalid samples in the rest of the file."""
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
        # MPEG headers count frames. The others count bytes, and libsndfile corrects the number of frames
        # itself.
        if read < self.frames:
            return True
        return any(
            int(there) < int(promised) < _UNKNOWN_LENGTH for promised, there in _MISSING.findall(self._notes)
        )


def check_readable(path: Path, label: str) -> None:
    """Raise AudioError with the reason where libsndfile would only report a system error."""
    if path.is_dir():
        raise AudioError(f"{label} is a folder", "name a file in it")
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
    except FileNotFoundError:
        raise missing_file(path, label) from None
    except OSError as error:
        raise AudioError(f"cannot read {label}: {error.strerror or error}", "check its permissions") from None
    if start == _SAMPLE_DUMP:
        raise AudioError(f"{label} is a MIDI sample dump", "convert it to WAV first")
    if not start:
        raise AudioError(f"{label} is empty (0 bytes)", "was it recorded or copied completely?")
