"""Data parallelism: several processes, started by torchrun, train one model."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist


@dataclasses.dataclass(frozen=True)
class World:
    """The processes that train together: ``rank`` of this one, and their number ``size``."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the results and reports progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have arrived here."""
        if self.size > 1:
            dist.barrier()

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter], sums: torch.Tensor) -> torch.Tensor:
        """Turn gradients of sums over this process's frames into those of the mean over all processes' frames.

        ``sums``: further figures to add up, the number of frames first; one message carries all. Returns the
        sums over all processes.
        """
        parameters = list(parameters)
        if self.size == 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= sums[0]
            return sums
        for parameter in parameters:
            if parameter.grad is None:  # this process had no frame in this step
                parameter.grad = torch.zeros_like(parameter)
        parts = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        message = self.add(torch.cat([*parts, sums.to(parts[0])]))
        added = message[len(message) - len(sums) :]
        at = 0
        for parameter in parameters:
            mean = message[at : at + parameter.numel()] / added[0]
            parameter.grad = mean.view_as(parameter)
            at += parameter.numel()
        return added


#: A single process.
ALONE = World()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started (environment variables RANK and WORLD_SIZE), else a single one.

    They communicate by gloo on the CPU and by NCCL on GPUs; process i of a machine uses GPU i.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def own_threads(threads: int) -> int:
    """CPU threads of this process, if all processes of the machine share ``threads``."""
    return max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def leads() -> bool:
    """Whether this process is the first or the only one."""
    return os.environ.get("RANK", "0") == "0"
