"""Frames in blocks that fit a core's cache: element-wise chains over (B, R, N, F) cost passes over memory.

Measured for `default` on one core (AMD Zen 3), in nanoseconds for each element and EM iteration: 16 to 41
without blocks (as the allocator pleases), 14 with them, beside 47 for the decoder there and back. Compiled by
numba the same would be 5 to 6 (likelihood with gradient 2.0, gain 0.7, statistics of H and W 0.35 each), but
importing it and loading what it compiled costs each process 0.7 s (2.6 s where nothing is cached): more than it
gains on half a minute of sound.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

#: Elements of one block of (B, R, block, F): half a megabyte in float32 is what a core has as second-level
#: cache at least, and an operation on fewer costs more to start than to do.
BLOCK_ELEMENTS = 1 << 17


def frame_blocks(values: torch.Tensor) -> Iterator[slice]:
    """Slices of N that together cover ``values`` (B, R, N, F); a single one where the device is no CPU."""
    batch, draws, frames, bins = values.shape
    length = frames
    if values.device.type == "cpu":
        length = max(1, BLOCK_ELEMENTS // max(1, batch * draws * bins))
    for start in range(0, frames, length):
        yield slice(start, min(start + length, frames))
