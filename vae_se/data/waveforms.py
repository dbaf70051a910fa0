"""A corpus as one long waveform on disk, from which training mixtures take their speech."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import AudioError, VaeSeError
from ..signal_spec import SignalSpec
from .cache import INDEX, default_cache, keep
from .corpus import Corpus
from .features import Report, cache_key, read_normalised

_PEAK = 32767


@dataclasses.dataclass(frozen=True)
class Waveforms:
    """Concatenated recordings, each at the signal's active level, in the order of their paths.

    Recordings of one speaker follow each other, since they share a folder. ``samples`` (T,) int16,
    memory-mapped; recording i begins at ``starts[i]`` and has the scale ``scales[i]``.
    """

    samples: np.ndarray
    starts: np.ndarray
    scales: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def cut(self, start: int, length: int) -> np.ndarray:
        """``length`` samples from ``start`` on, (length,) float32; a cut may span several recordings.

        Raises ValueError for a cut beyond the samples.
        """
        stop = start + length
        if not 0 <= start <= stop <= len(self.samples):
            raise ValueError(f"samples {start} to {stop} of {len(self.samples)}")
        out = np.asarray(self.samples[start:stop], np.float32)
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        for i in range(first, last):
            begin = max(int(self.starts[i]) - start, 0)
            end = int(self.starts[i + 1]) - start if i + 1 < len(self.starts) else length
            out[begin:end] *= self.scales[i]
        return out


#: Corpora, each with the relative frequency of cuts from it.
WeightedSpeech = Sequence[tuple[Waveforms, float]]


def draw_cut(speech: WeightedSpeech, length: int, random: np.random.Generator) -> np.ndarray:
    """A random cut (length,) float32 of one of the corpora, which is chosen by weight."""
    edges = np.cumsum([weight for _, weight in speech])
    chosen = min(int(np.searchsorted(edges, random.random() * edges[-1])), len(edges) - 1)
    waves = speech[chosen][0]
    return waves.cut(int(random.integers(0, len(waves) - length + 1)), length)


def load_waveforms(
    corpus: Corpus, signal: SignalSpec, cache: Path | None = None, report: Report | None = None
) -> Waveforms:
    """The recordings of ``corpus``, computed on the first call and stored in the folder ``cache``.

    Unusable files are left out. Raises AudioError where no file is usable, and OutputError where the cache
    cannot be written.
    """
    folder = (cache or default_cache()) / _key(corpus, signal)
    keep(folder, lambda partial: _compute(corpus, signal, partial, report))
    index = json.loads((folder / INDEX).read_text())
    samples = np.memmap(folder / "samples.int16", np.int16, "r")
    return Waveforms(samples, np.array(index["starts"]), np.array(index["scales"], np.float32))


def _key(corpus: Corpus, signal: SignalSpec) -> str:
    return hashlib.blake2b(f"waveforms 1 {cache_key(corpus, signal)}".encode(), digest_size=12).hexdigest()


def _compute(corpus: Corpus, signal: SignalSpec, folder: Path, report: Report | None) -> None:
    """Read the recordings and write them to ``folder``."""
    starts, scales, total = [], [], 0
    with (folder / "samples.int16").open("wb") as file:
        for done, recording in enumerate(corpus.recordings, 1):
            try:
                waveform = read_normalised(corpus.root / recording.path, signal)
            except VaeSeError:
                continue
            scale = float(np.abs(waveform).max()) / _PEAK
            file.write(np.round(waveform / scale).astype("<i2").tobytes())
            starts.append(total)
            scales.append(scale)
            total += waveform.size
            if report:
                report(done, len(corpus.recordings))
    if not starts:
        raise AudioError(f"no usable audio under {corpus.root}", "check the folder")
    (folder / INDEX).write_text(json.dumps({"starts": starts, "scales": scales}))
