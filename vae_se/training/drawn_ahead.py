"""Mixtures drawn by other processes while the training computes."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from .mixtures import Mixtures, MixtureWaveforms

_AHEAD = 4  # batches per process


@dataclasses.dataclass(frozen=True)
class _Batches(Dataset[MixtureWaveforms]):
    """Batch number ``step`` of a stream."""

    mixtures: Mixtures
    seed: int
    size: int

    def __getitem__(self, step: int) -> MixtureWaveforms:
        return self.mixtures.waveforms(self.seed, "train", step, self.size)


def draw_ahead(
    mixtures: Mixtures, seed: int, steps: range, size: int, workers: int, device: torch.device
) -> Iterator[MixtureWaveforms]:
    """Batches ``steps`` of ``size`` training mixtures, in order and as ``mixtures.waveforms`` draws them.

    ``workers`` processes draw some batches ahead; 0 draws each when it is asked for. Where the platform can
    fork, the processes share the speech and the noise in memory.
    """
    if workers == 0:
        return (mixtures.waveforms(seed, "train", step, size) for step in steps)
    fork = "fork" in multiprocessing.get_all_start_methods()
    loader = DataLoader(
        _Batches(mixtures, seed, size),
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        pin_memory=device.type == "cuda",
        multiprocessing_context="fork" if fork else None,
        generator=torch.Generator(),  # the order is given; without it, torch's global generator is asked
    )
    return iter(loader)
