"""Power spectra of a corpus, computed once and stored as memory-mapped arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.level import active_rms
from ..audio.resample import resample
from ..errors import AudioError, VaeSeError
from ..numerics import SILENCE_RMS
from ..signal_spec import SignalSpec
from .cache import INDEX, default_cache, keep
from .corpus import Corpus

# Part of the cache key; increase it when the computation of the spectra changes.
_VERSION = 1
_SHARD_FRAMES = 1 << 16  # 128 MiB at 513 bins
_PIECE_SECONDS = 120  # of a long recording: bounds the memory for its complex spectrum

#: Called with (files done, number of files) while spectra are computed.
Report = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Utterance:
    """Frames ``start`` to ``start + frames`` of the corpus: those of one recording, and its speaker."""

    path: str
    speaker: str
    start: int
    frames: int


class PowerSpectra:
    """Power spectra |x|^2 of a corpus, (N, F) float32, in one or more memory-mapped files.

    ``utterances``: the recordings; ``skipped``: unusable files and the reasons.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        self.folder = folder
        self.utterances = [Utterance(**entry) for entry in index["utterances"]]
        self.skipped: dict[str, str] = index["skipped"]
        self._shards = [np.load(folder / name, mmap_mode="r") for name in index["shards"]]
        self._starts = np.cumsum([0] + [len(shard) for shard in self._shards])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def bins(self) -> int:
        """F, the number of frequency bins."""
        return int(self._shards[0].shape[1])

    def gather(self, frames: np.ndarray) -> np.ndarray:
        """The frames with the numbers ``frames`` (n,), in that order: (n, F)."""
        out = np.empty((len(frames), self.bins), np.float32)
        shard_of = np.searchsorted(self._starts, frames, side="right") - 1
        for number in np.unique(shard_of):
            where = np.flatnonzero(shard_of == number)
            out[where] = self._shards[number][frames[where] - self._starts[number]]
        return out


@dataclasses.dataclass(frozen=True)
class FrameSet:
    """A subset of the frames of a corpus: those with the numbers ``frames`` (n,)."""

    spectra: PowerSpectra
    frames: np.ndarray
    utterances: tuple[Utterance, ...]

    @classmethod
    def of(cls, spectra: PowerSpectra, keep: Callable[[Utterance], bool] = lambda _: True) -> FrameSet:
        """The frames of the utterances for which ``keep`` is true."""
        kept = tuple(u for u in spectra.utterances if keep(u))
        ranges = [np.arange(u.start, u.start + u.frames) for u in kept]
        return cls(spectra, np.concatenate(ranges) if ranges else np.empty(0, np.int64), kept)

    def __len__(self) -> int:
        return len(self.frames)

    def gather(self, positions: np.ndarray | slice) -> np.ndarray:
        """The frames at ``positions`` within this set, (n, F)."""
        return self.spectra.gather(self.frames[positions])


def read_normalised(path: Path, signal: SignalSpec) -> np.ndarray:
    """A recording at the rate and active level of ``signal``, mono, (T,) float32.

    Raises AudioError where it cannot be read, is shorter than a window, silent, or not finite.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise AudioError(f"cannot read {path}: {error}", "is it complete, and audio?") from None
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds samples that are not finite", "export it again")
    mono = resample(samples.mean(1), rate, signal.rate)
    if mono.size < signal.window:
        raise AudioError(f"{path} is shorter than one window", "leave it out")
    level = active_rms(mono, signal.rate)
    if level < SILENCE_RMS:
        raise AudioError(f"{path} is silent", "leave it out")
    return np.asarray(mono * (signal.active_rms / level), np.float32)


def power_spectra(waveform: np.ndarray, signal: SignalSpec) -> np.ndarray:
    """Power spectra (N, F) float32 of a waveform (T,), computed in pieces of two minutes.

    >>> power_spectra(np.zeros(4096, np.float32), SignalSpec()).shape
    (19, 513)
    """
    import torch

    stft = signal.stft
    piece = _PIECE_SECONDS * signal.rate
    # A tail shorter than a window belongs to the piece before it.
    starts = [s for s in range(0, waveform.size, piece) if s == 0 or waveform.size - s >= signal.window]
    ends = [*starts[1:], waveform.size]
    powers = [
        torch.view_as_real(stft.analyse(torch.from_numpy(waveform[a:b]))).square().sum(-1).numpy()
        for a, b in zip(starts, ends, strict=True)
    ]
    return np.concatenate(powers) if len(powers) > 1 else powers[0]


def cache_key(corpus: Corpus, signal: SignalSpec) -> str:
    """Digest of all that the spectra depend on: paths, sizes and times of the files, and ``signal``."""
    files = [(r.path, r.size, r.mtime_ns, r.speaker) for r in corpus.recordings]
    text = json.dumps([_VERSION, dataclasses.asdict(signal), files])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def load_features(
    corpus: Corpus, signal: SignalSpec, cache: Path | None = None, report: Report | None = None
) -> PowerSpectra:
    """Spectra of ``corpus``, computed on the first call and stored in the folder ``cache``.

    Unusable files are left out and listed with the reason in ``skipped``. Raises AudioError where no file is
    usable, and OutputError where the cache cannot be written.
    """
    folder = (cache or default_cache()) / cache_key(corpus, signal)
    keep(folder, lambda partial: _compute(corpus, signal, partial, report))
    return PowerSpectra(folder)


def _compute(corpus: Corpus, signal: SignalSpec, folder: Path, report: Report | None) -> None:
    """Compute the spectra and write them to ``folder``."""
    shards = _ShardWriter(folder)
    utterances: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for done, recording in enumerate(corpus.recordings, 1):
        try:
            power = power_spectra(read_normalised(corpus.root / recording.path, signal), signal)
        except VaeSeError as error:
            skipped[recording.path] = error.message
        else:
            entry = Utterance(recording.path, recording.speaker, shards.total, len(power))
            utterances.append(dataclasses.asdict(entry))
            shards.add(power)
        if report:
            report(done, len(corpus.recordings))
    shards.flush()
    if not utterances:
        first = next(iter(skipped.values()))
        raise AudioError(f"no usable audio under {corpus.root} ({first})", "check the folder")
    index = {"shards": shards.names, "utterances": utterances, "skipped": skipped}
    (folder / INDEX).write_text(json.dumps(index))


class _ShardWriter:
    """Collects frames and writes them to files of about _SHARD_FRAMES each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.total = 0
        self._pending: list[np.ndarray] = []

    def add(self, power: np.ndarray) -> None:
        self._pending.append(power)
        self.total += len(power)
        if sum(map(len, self._pending)) >= _SHARD_FRAMES:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            name = f"power-{len(self.names):05d}.npy"
            np.save(self.folder / name, np.concatenate(self._pending))
            self.names.append(name)
            self._pending = []


def log_power_statistics(frames: FrameSet, floor: float, chunk: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of log(|x|^2 + floor) over a set of frames, both (F,) float64."""
    total = np.zeros(frames.spectra.bins)
    squares = np.zeros(frames.spectra.bins)
    for start in range(0, len(frames), chunk):
        log_power = np.log(frames.gather(slice(start, start + chunk)) + np.float32(floor)).astype(np.float64)
        total += log_power.sum(0)
        squares += np.square(log_power).sum(0)
    mean = total / len(frames)
    return mean, np.sqrt(np.maximum(squares / len(frames) - mean**2, 1e-12))
