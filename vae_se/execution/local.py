"""Executors on this machine: this process, or several processes."""

from __future__ import annotations

import dataclasses
import functools

from .. import portable
from ..errors import UsageError
from .base import Make, Results, Tasks
from .pool import Pool
from .process import Process
from .reports import TakeReport


@dataclasses.dataclass(frozen=True)
class Serial:
    """Runs tasks in this process, one after the other, without a timeout or protection against crashes."""

    def run(self, make: Make, tasks: Tasks) -> Results:
        """See :class:`~vae_se.execution.base.Executor`."""
        handle = make()
        for number, items in enumerate(tasks):
            yield number, list(handle(items))


@dataclasses.dataclass(frozen=True)
class Processes:
    """Runs tasks in ``jobs`` processes of one thread each, with a ``timeout`` in seconds per task.

    ``take_report``: called, from several threads, with what a worker passes to
    :func:`vae_se.execution.reports.report`.
    """

    jobs: int
    timeout: float | None = None
    take_report: TakeReport | None = dataclasses.field(default=None, repr=False)

    def run(self, make: Make, tasks: Tasks) -> Results:
        """See :class:`~vae_se.execution.base.Executor`."""
        if not portable.WORKER_PROCESSES:
            raise UsageError("workers as processes need Linux or macOS", "give -j 1")
        start = functools.partial(Process, make, self.take_report)
        return Pool(start, self.jobs, timeout=self.timeout).run(tasks)
