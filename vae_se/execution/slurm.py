"""Executor on a Slurm cluster, with submitit (extra ``slurm``): every job does a share of the tasks.

A running job cannot receive tasks, so the tasks are divided beforehand, into more shares than there are jobs at
a time: this balances the load, and a lost job costs little. A job runs a pool of processes, one per core that
Slurm assigns to it. Every node needs this package, and the files under the same paths.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ExecutionError, UsageError, VaeSeError
from ..portable import usable_cores
from .base import Died, Make, Results, Tasks
from .local import Processes
from .pool import Pool

#: Shares per job that runs at a time.
_ROUNDS = 4


def run_share(
    make: Make, tasks: Sequence[Sequence[Any]], timeout: float | None
) -> list[list[Any]] | VaeSeError:
    """Do the tasks of a job on its cores. An error is returned, and raised by the submitting process."""
    cores = usable_cores()
    try:
        found = dict(Processes(min(cores, len(tasks)), timeout).run(make, tasks))
    except VaeSeError as error:
        return error
    return [found[number] for number in range(len(tasks))]


class JobWorker:
    """Submits a job for every share and waits for it: a :class:`~vae_se.execution.base.RemoteHandle`."""

    pid: int | None = None

    def __init__(self, executor: Any, make: Make, timeout: float | None) -> None:
        self._executor, self._make, self._timeout = executor, make, timeout
        self._job: Any = None

    def ready(self) -> None:
        """Do nothing: Slurm starts a job for every share."""

    def ask(self, items: Sequence[Any], timeout: float | None) -> Sequence[Any] | Died:
        """The results of a share, or Died if its job was lost. Raises the exception of the job."""
        self._job = self._executor.submit(run_share, self._make, items, self._timeout)
        failure = self._job.exception()
        if isinstance(failure, _submitit().core.utils.FailedJobError):
            last = str(failure).split("----------------------")[1].strip().splitlines()[-1]
            raise ExecutionError(
                f"the Slurm job {self._job.job_id} failed: {last}", f"see {self._job.paths.stderr}"
            )
        if failure is not None:  # the job was killed, ran out of time, or its node failed
            return Died(f"the Slurm job {self._job.job_id} was lost")
        results: Sequence[Any] | VaeSeError = self._job.result()
        if isinstance(results, VaeSeError):
            raise results
        return results

    def interrupt(self) -> None:
        """Cancel the job (scancel)."""
        if self._job is not None:
            self._job.cancel(check=False)

    def stop(self) -> None:
        """Do nothing: no job runs between two shares."""


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise UsageError("--executor slurm needs submitit", "pip install 'vae-se[slurm]'") from None


@dataclasses.dataclass(frozen=True)
class Slurm:
    """Runs tasks in ``jobs`` Slurm jobs at a time; logs and results of submitit go to ``folder``.

    ``cluster``: "slurm", or "local" to run the jobs as processes on this machine. ``parameters``: of submitit,
    such as ``slurm_partition``, ``timeout_min``, ``cpus_per_task`` and ``mem_gb``. ``timeout``: of a task in
    seconds.
    """

    jobs: int = 1
    cluster: str = "slurm"
    folder: Path = Path("submitit")
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timeout: float | None = None

    def run(self, make: Make, tasks: Tasks) -> Results:
        """See :class:`~vae_se.execution.base.Executor`."""
        submitit = _submitit()
        try:
            executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
            executor.update_parameters(**{"timeout_min": 60, **self.parameters})
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise UsageError(
                f"submitit: {' '.join(str(error).split())}", "look at --address and --slurm"
            ) from None
        listed = list(tasks)
        count = min(len(listed), _ROUNDS * self.jobs)
        shares = [list(range(i, len(listed), count)) for i in range(count)]
        pool = Pool(functools.partial(JobWorker, executor, make, self.timeout), self.jobs)
        for share, results in pool.run([[listed[i] for i in share] for share in shares]):
            for i, result in zip(shares[share], results, strict=True):
                yield i, [result] * len(listed[i]) if isinstance(result, Died) else result
