"""Long recordings in chunks of frames, and chunks of like length in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch


@dataclasses.dataclass(frozen=True)
class Segment:
    """Frames ``start`` to ``stop`` of spectrogram number ``item``; ``index`` counts within the item."""

    item: int
    index: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        """Its number of frames."""
        return self.stop - self.start


def cut(item: int, frames: int, length: int, overlap: int) -> list[Segment]:
    """As few chunks as ``length`` frames at most allow, neighbours sharing ``overlap`` frames at least.

    All chunks of one item have the same length, no longer than needed: a recording a little longer than
    one chunk becomes two halves and not two copies.
    """
    if frames <= length:
        return [Segment(item, 0, 0, frames)]
    count = -(-(frames - overlap) // (length - overlap))
    # One frame more than an even share, since the starts are rounded.
    length = min(length, -(-(frames + (count - 1) * overlap) // count) + 1)
    starts = [round(i * (frames - length) / (count - 1)) for i in range(count)]
    return [Segment(item, i, s, s + length) for i, s in enumerate(starts)]


def crossfade(
    chunks: Sequence[Segment], position: int, overlap: int, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Weights (frames,) of a chunk of one item: linear ramps of ``overlap`` frames, each in the middle of
    what it shares with a neighbour.

    The weights of all chunks of an item add up to 1 in every frame, if ``overlap`` is at most a third of
    their length (so that no frame lies in two ramps).
    """
    chunk = chunks[position]
    frame = torch.arange(chunk.start, chunk.stop, device=device) + 0.5
    weight = torch.ones(chunk.frames, device=device)
    if position > 0:
        weight *= _rise(frame, chunks[position - 1], chunk, overlap)
    if position + 1 < len(chunks):
        weight *= 1 - _rise(frame, chunk, chunks[position + 1], overlap)
    return weight


def _rise(frame: torch.Tensor, left: Segment, right: Segment, overlap: int) -> torch.Tensor:
    middle = (right.start + left.stop) / 2
    return ((frame - middle) / overlap + 0.5).clamp(0, 1)


def batches(chunks: Sequence[Segment], budget: int) -> Iterator[list[Segment]]:
    """Chunks sorted by length into batches of at most ``budget`` padded frames (or a single chunk)."""
    batch: list[Segment] = []
    for chunk in sorted(chunks, key=lambda c: (-c.frames, c.item, c.index)):
        if batch and batch[0].frames * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch
