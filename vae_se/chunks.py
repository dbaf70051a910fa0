"""Long recordings in chunks of frames, and chunks of like length in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Frames ``start`` to ``stop`` of spectrogram number ``item``; ``index`` counts within the item."""

    item: int
    index: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        """Its number of frames."""
        return self.stop - self.start


def cut(item: int, frames: int, length: int, overlap: int) -> list[Chunk]:
    """Chunks of ``length`` frames or less, neighbours sharing ``overlap`` frames at least.

    All chunks of one item have the same length up to one frame, so that the last is not a stub.
    """
    if frames <= length:
        return [Chunk(item, 0, 0, frames)]
    count = -(-(frames - overlap) // (length - overlap))
    starts = [round(i * (frames - length) / (count - 1)) for i in range(count)]
    return [Chunk(item, i, s, s + length) for i, s in enumerate(starts)]


def crossfade(chunks: Sequence[Chunk], position: int) -> torch.Tensor:
    """Weights (frames,) of a chunk of one item: linear ramps over what it shares with its neighbours.

    The weights of all chunks of an item add up to 1 in every frame.
    """
    chunk = chunks[position]
    weight = torch.ones(chunk.frames)
    if position > 0:
        shared = chunks[position - 1].stop - chunk.start
        weight[:shared] *= _ramp(shared)
    if position + 1 < len(chunks):
        shared = chunk.stop - chunks[position + 1].start
        weight[-shared:] *= _ramp(shared).flip(0)
    return weight


def _ramp(frames: int) -> torch.Tensor:
    return (torch.arange(frames) + 0.5) / frames


def batches(chunks: Sequence[Chunk], budget: int) -> Iterator[list[Chunk]]:
    """Chunks sorted by length into batches of at most ``budget`` padded frames (or a single chunk)."""
    batch: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda c: (-c.frames, c.item, c.index)):
        if batch and batch[0].frames * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch
