"""On this machine: in this process, or in several."""

from __future__ import annotations

import dataclasses
import functools

from .base import Make, Results, Tasks
from .pool import Pool
from .process import Process


@dataclasses.dataclass(frozen=True)
class Serial:
    """One task after the other, in this process, which dies with its worker and waits without end."""

    def run(self, make: Make, tasks: Tasks) -> Results:
        """As :class:`~vae_se.execution.base.Executor` says."""
        handle = make()
        for number, items in enumerate(tasks):
            yield number, list(handle(items))


@dataclasses.dataclass(frozen=True)
class Processes:
    """``jobs`` processes of one thread each; a task may take ``timeout`` seconds."""

    jobs: int
    timeout: float | None = None

    def run(self, make: Make, tasks: Tasks) -> Results:
        """As :class:`~vae_se.execution.base.Executor` says."""
        return Pool(functools.partial(Process, make), self.jobs, timeout=self.timeout).run(tasks)
