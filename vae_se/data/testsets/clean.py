"""Clean speech as its own noisy recording, to measure the damage that a method does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ...rng import numpy_stream
from ..files import frames_at, list_audio, read_at, sha256
from ..mixing import speaker_of
from ..mixture import Mixture
from .base import TestSet, adapter, need


@dataclass(frozen=True)
class CleanOptions:
    """``count`` utterances of at least ``min_utterance`` seconds, from as many speakers as possible."""

    speech: str = "speech/valid"
    count: int = 20
    seed: int = 0
    rate: int = 16000
    min_utterance: float = 4.0
    max_seconds: float = 8.0


@dataclass(frozen=True)
class CleanEntry:
    """One utterance."""

    id: str
    path: Path
    rate: int
    limit: int
    identity: str
    snr_db: float | None = None
    noise_type: str | None = "none"

    def load(self) -> Mixture:
        """The clean utterance as both clean and noisy; metrics that need the noise have no value."""
        clean = read_at(self.path, self.rate, channel=0)[: self.limit].astype(np.float32)
        return Mixture(self.id, clean, clean.copy(), self.rate, None, None, self.noise_type)


@adapter("clean", CleanOptions, source="any folder of clean speech", licence="its own")
def build(options: CleanOptions, data_root: Path) -> TestSet:
    """Utterances in a seeded order that alternates between speakers."""
    root = need("clean", data_root / options.speech)
    least = options.min_utterance * options.rate
    paths = [path for path in list_audio(root) if frames_at(root / path, options.rate) >= least]
    if not paths:
        raise UsageError(f"no speech of {options.min_utterance} s or more under {root}")
    shuffled = [paths[i] for i in numpy_stream(options.seed, "clean").permutation(len(paths))]
    rounds: dict[str, int] = {}
    ranked = []
    for position, path in enumerate(shuffled):
        rounds[speaker_of(path)] = rounds.get(speaker_of(path), -1) + 1
        ranked.append((rounds[speaker_of(path)], position, path))
    chosen = [path for _, _, path in sorted(ranked)[: options.count]]
    limit = int(options.max_seconds * options.rate)
    entries = tuple(
        CleanEntry(
            id=f"{index:04d}_{speaker_of(path).rsplit('/', 1)[-1]}_clean",
            path=root / path,
            rate=options.rate,
            limit=limit,
            identity=sha256(root / path),
        )
        for index, path in enumerate(chosen)
    )
    return TestSet("clean", entries)
