"""Work on (B, R, N, F) tensors in blocks of frames, which fit a core's cache and may run on several threads.

A chain of element-wise operations on a whole tensor passes over main memory once per operation. On a block
that stays in the cache it does so once per chain, which is two to three times as fast on a CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import torch

from .threads import available, each

#: Elements in a block (B, R, block, F). In float32 they take half a megabyte, which fits the second-level
#: cache of common cores; in smaller blocks the cost of starting each operation dominates.
BLOCK_ELEMENTS = 1 << 17
#: Least number of rows of a matrix product that is divided among threads: with fewer, most of the time goes
#: into the weights, which every thread reads.
_LEAST_ROWS = 96

#: Maps a slice of n frames to tensors (B, R, n, ...).
OfBlock = Callable[[slice], tuple[torch.Tensor, ...]]


def frame_blocks(values: torch.Tensor) -> list[slice]:
    """Slices of N that together cover ``values`` (B, R, N, F); a single one on any device but the CPU.

    >>> frame_blocks(torch.empty(1, 2, 300, 513))
    [slice(0, 100, None), slice(100, 200, None), slice(200, 300, None)]
    """
    batch, draws, frames, bins = values.shape
    if values.device.type != "cpu":
        return [slice(0, frames)]
    return _even(frames, -(-frames // max(1, BLOCK_ELEMENTS // max(1, batch * draws * bins))))


def blockwise(function: OfBlock, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What ``function`` returns for all frames of ``values`` (B, R, N, F), computed block by block."""
    return _joined(function, values.shape[2], frame_blocks(values))


def threadwise(function: OfBlock, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What ``function`` returns for all frames of ``values`` (B, R, N, ...), computed in one part per thread.

    For matrix products, which are fastest in large pieces. On any device but the CPU there is one part.
    """
    batch, draws, frames = values.shape[:3]
    parts = min(available(), batch * draws * frames // _LEAST_ROWS) if values.device.type == "cpu" else 1
    return _joined(function, frames, _even(frames, parts))


def _even(frames: int, parts: int) -> list[slice]:
    """``parts`` slices that together cover 0 to ``frames``, or fewer: none of them is empty.

    >>> _even(10, 3), _even(1, 3)
    ([slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)], [slice(0, 1, None)])
    """
    parts = min(max(1, parts), frames)
    if not parts:
        return []
    edges = [frames * i // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(edges)]


def _joined(function: OfBlock, frames: int, blocks: list[slice]) -> tuple[torch.Tensor, ...]:
    """The results of ``function`` for all blocks, joined along the frames."""
    if len(blocks) < 2:
        return function(slice(0, frames))
    results: list[torch.Tensor] = []
    lock = threading.Lock()

    def store(block: slice) -> None:
        parts = function(block)
        with lock:
            if not results:
                results.extend(part.new_empty(*part.shape[:2], frames, *part.shape[3:]) for part in parts)
        for result, part in zip(results, parts, strict=True):
            result[:, :, block] = part

    each(store, blocks)
    return tuple(results)


def mean_over_draws(values: torch.Tensor) -> torch.Tensor:
    """The mean over R of (R, ...); for one draw without an operation.

    >>> mean_over_draws(torch.tensor([[1.0], [3.0]]))
    tensor([2.])
    """
    return values[0] if values.shape[0] == 1 else values.mean(0)
