"""Overlapping segments of a long recording, their cross-fade, and batches of segments of similar length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch


@dataclasses.dataclass(frozen=True)
class Segment:
    """Frames ``start`` to ``stop`` of spectrogram number ``item``; ``index`` counts the segments of an item."""

    item: int
    index: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


def cut(item: int, frames: int, length: int, overlap: int) -> list[Segment]:
    """Cut ``frames`` frames into as few segments as possible.

    A segment has at most ``length`` frames; neighbours share at least ``overlap`` frames. All segments of an
    item have the same length, no longer than necessary: a recording a little longer than ``length`` becomes two
    halves that overlap, not two segments of full length.

    >>> [(segment.start, segment.stop) for segment in cut(0, 100, 60, 10)]
    [(0, 56), (44, 100)]
    """
    if frames <= length:
        return [Segment(item, 0, 0, frames)]
    count = -(-(frames - overlap) // (length - overlap))
    # One frame more than an even share, since the starts are rounded.
    length = min(length, -(-(frames + (count - 1) * overlap) // count) + 1)
    starts = [round(i * (frames - length) / (count - 1)) for i in range(count)]
    return [Segment(item, i, start, start + length) for i, start in enumerate(starts)]


def crossfade(
    segments: Sequence[Segment], position: int, overlap: int, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Weights (frames,) of segment number ``position`` of an item.

    They are 1 except for linear ramps of ``overlap`` frames, one in the middle of each part that the segment
    shares with a neighbour. The weights of all segments of an item sum to 1 in every frame if ``overlap`` is at
    most a third of their length (then no frame lies in two ramps).
    """
    segment = segments[position]
    frame = torch.arange(segment.start, segment.stop, device=device) + 0.5
    weight = torch.ones(segment.frames, device=device)
    if position > 0:
        weight *= _ramp(frame, segments[position - 1], segment, overlap)
    if position + 1 < len(segments):
        weight *= 1 - _ramp(frame, segment, segments[position + 1], overlap)
    return weight


def _ramp(frame: torch.Tensor, left: Segment, right: Segment, overlap: int) -> torch.Tensor:
    """Ramp from 0 to 1 in the middle of what two neighbours share."""
    middle = (right.start + left.stop) / 2
    return ((frame - middle) / overlap + 0.5).clamp(0, 1)


def batches(segments: Sequence[Segment], budget: int) -> Iterator[list[Segment]]:
    """Sort segments by length into batches of at most ``budget`` padded frames, or of one segment."""
    batch: list[Segment] = []
    for segment in sorted(segments, key=lambda one: (-one.frames, one.item, one.index)):
        if batch and batch[0].frames * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(segment)
    if batch:
        yield batch
