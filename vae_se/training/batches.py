"""What a step of training sees: frames shuffled one by one, or sequences of them.

Where several processes train together, each sees its part of every batch, and in order every so many-th batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ..data.features import FrameSet
from ..rng import numpy_stream
from .distributed import ALONE, World


@dataclasses.dataclass(frozen=True)
class Batch:
    """Power spectra (n, F) of frames that have nothing to do with each other, or (B, N, F) of sequences with
    their ``mask`` (B, N), 1 where a frame exists, or None where all do."""

    power: np.ndarray
    mask: np.ndarray | None = None


class Batches(Protocol):
    """Ways through a set of frames; an epoch's depends on the seed and the epoch alone."""

    @property
    def per_epoch(self) -> int:
        """Batches an epoch."""

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch in shuffled order, from batch number ``first`` on."""

    def in_order(self) -> Iterator[tuple[int, Batch]]:
        """Every frame once, for validation: numbered batches, of which this process takes its own."""


@dataclasses.dataclass(frozen=True)
class FrameBatches:
    """``size`` frames a batch, shuffled over the whole corpus."""

    frames: FrameSet
    size: int
    seed: int
    world: World = ALONE

    @property
    def per_epoch(self) -> int:
        """Batches an epoch."""
        return math.ceil(len(self.frames) / self.size)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Batches of the epoch's global shuffle."""
        order = numpy_stream(self.seed, "shuffle", number).permutation(len(self.frames))
        for start in range(first * self.size, len(order), self.size):
            chosen = np.sort(order[start : start + self.size])
            yield Batch(self.frames.gather(chosen[self.world.rank :: self.world.size]))

    def in_order(self) -> Iterator[tuple[int, Batch]]:
        """Every frame once."""
        for number in range(self.world.rank, self.per_epoch, self.world.size):
            yield number, Batch(self.frames.gather(slice(number * self.size, (number + 1) * self.size)))


@dataclasses.dataclass(frozen=True)
class SequenceBatches:
    """Sequences of ``length`` frames, ``size`` frames a batch; none crosses from one recording to the next.

    An epoch cuts each recording into as many as cover it; they overlap a little, by other amounts in every
    epoch. A recording that is shorter is one sequence, padded. In order, they do not overlap, and the last
    piece of each recording is padded.
    """

    frames: FrameSet
    length: int
    size: int
    seed: int
    world: World = ALONE

    @property
    def per_epoch(self) -> int:
        """Batches an epoch."""
        sequences = sum(math.ceil(u.frames / self.length) for u in self.frames.utterances)
        return math.ceil(sequences / self._rows)

    @property
    def _rows(self) -> int:
        return max(1, self.size // self.length)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Batches of the epoch's cuts, shuffled over the whole corpus."""
        generator = numpy_stream(self.seed, "shuffle", number)
        pieces, base = [], 0
        for utterance in self.frames.utterances:
            length = min(self.length, utterance.frames)
            starts = _cover(utterance.frames, length, generator)
            pieces += [(base + int(start), length) for start in starts]
            base += utterance.frames
        order = generator.permutation(len(pieces))
        for at in range(first * self._rows, len(order), self._rows):
            mine = order[at : at + self._rows][self.world.rank :: self.world.size]
            yield self._gather([pieces[k] for k in mine])

    def in_order(self) -> Iterator[tuple[int, Batch]]:
        """Every frame once."""
        pieces, base = [], 0
        for utterance in self.frames.utterances:
            for start in range(0, utterance.frames, self.length):
                pieces.append((base + start, min(self.length, utterance.frames - start)))
            base += utterance.frames
        for number in range(self.world.rank, math.ceil(len(pieces) / self._rows), self.world.size):
            yield number, self._gather(pieces[number * self._rows : (number + 1) * self._rows])

    def _gather(self, pieces: list[tuple[int, int]]) -> Batch:
        starts, lengths = np.array(pieces, np.int64).reshape(-1, 2, 1).transpose(1, 0, 2)
        steps = np.arange(self.length)
        # Padding repeats the last frame: as good as any, since nobody looks at it.
        positions = starts + np.minimum(steps, lengths - 1)
        power = self.frames.gather(positions.ravel()).reshape(*positions.shape, -1)
        if (lengths == self.length).all():
            return Batch(power)
        return Batch(power, (steps < lengths).astype(np.float32))


def _cover(frames: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """First frames of the fewest pieces of a length that cover a recording, from its start to its end."""
    count = math.ceil(frames / length)
    if count == 1:
        return np.zeros(1, np.int64)
    even = np.arange(count) * (frames - length) / (count - 1)
    play = (count * length - frames) / (count - 1) / 2  # two neighbours may part by their overlap, no further
    moved = even + generator.uniform(-play, play, count)
    moved[[0, -1]] = even[[0, -1]]
    # Rounding may leave out a single frame between two pieces, in this epoch.
    return np.floor(moved).astype(np.int64)
