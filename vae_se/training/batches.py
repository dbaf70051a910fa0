"""Batches of a training step: frames in shuffled order, or sequences of frames.

With several processes, each one gets its part of every training batch, and every ``world.size``-th validation
batch.
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
    """Power spectra (n, F) of unrelated frames, or (B, N, F) of sequences.

    ``mask`` (B, N): 1 where a frame exists; None if all exist.
    """

    power: np.ndarray
    mask: np.ndarray | None = None


class Batches(Protocol):
    """A set of frames in batches; the order of an epoch is a function of the seed and the epoch."""

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch in shuffled order, from batch number ``first`` on."""

    def in_order(self) -> Iterator[tuple[int, Batch]]:
        """Each frame once, for validation: the numbered batches of this process."""


@dataclasses.dataclass(frozen=True)
class FrameBatches:
    """Batches of ``size`` frames, shuffled over the whole corpus."""

    frames: FrameSet
    size: int
    seed: int
    world: World = ALONE

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.frames) / self.size)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Batches of the epoch's permutation of all frames."""
        order = numpy_stream(self.seed, "shuffle", number).permutation(len(self.frames))
        for start in range(first * self.size, len(order), self.size):
            chosen = np.sort(order[start : start + self.size])
            yield Batch(self.frames.gather(chosen[self.world.rank :: self.world.size]))

    def in_order(self) -> Iterator[tuple[int, Batch]]:
        """Each frame once."""
        for number in range(self.world.rank, self.per_epoch, self.world.size):
            yield number, Batch(self.frames.gather(slice(number * self.size, (number + 1) * self.size)))


@dataclasses.dataclass(frozen=True)
class SequenceBatches:
    """Batches of sequences of ``length`` frames, ``size`` frames in total; each sequence is from one recording.

    An epoch covers each recording by the fewest sequences; they overlap by random amounts. A shorter
    recording is one padded sequence. In validation the sequences do not overlap, and the last one of a
    recording is padded.
    """

    frames: FrameSet
    length: int
    size: int
    seed: int
    world: World = ALONE

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        sequences = sum(math.ceil(u.frames / self.length) for u in self.frames.utterances)
        return math.ceil(sequences / self._rows)

    @property
    def _rows(self) -> int:
        return max(1, self.size // self.length)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Batches of the epoch's sequences, shuffled over the whole corpus."""
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
        """Each frame once."""
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
        # Padding repeats the last frame; the mask excludes it.
        positions = starts + np.minimum(steps, lengths - 1)
        power = self.frames.gather(positions.ravel()).reshape(*positions.shape, -1)
        if (lengths == self.length).all():
            return Batch(power)
        return Batch(power, (steps < lengths).astype(np.float32))


def _cover(frames: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """First frames of the fewest sequences of ``length`` frames that cover a recording, jittered at random."""
    count = math.ceil(frames / length)
    if count == 1:
        return np.zeros(1, np.int64)
    even = np.arange(count) * (frames - length) / (count - 1)
    play = (count * length - frames) / (count - 1) / 2  # half the overlap of two neighbours
    moved = even + generator.uniform(-play, play, count)
    moved[[0, -1]] = even[[0, -1]]
    # Rounding may leave out a single frame between two sequences.
    return np.floor(moved).astype(np.int64)
