"""Choose an executor by name."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError, nearest
from .base import Executor
from .local import Processes, Serial
from .ray_cluster import Ray
from .slurm import Slurm

EXECUTORS = ("serial", "processes", "ray", "slurm")


def choose(
    name: str,
    jobs: int | None = None,
    address: str | None = None,
    slurm: dict[str, Any] | None = None,
    timeout: float | None = None,
) -> Executor:
    """The executor called ``name``.

    ``jobs``: number of workers (None: one, or on Ray one per core of the cluster). ``address``: of a Ray
    cluster; "slurm" or "local" for submitit. ``slurm``: parameters of submitit. ``timeout``: of a task in
    seconds. Raises UsageError for an unknown name, or an option that the executor does not have.
    """
    if name not in EXECUTORS:
        raise UsageError(f"unknown executor {name!r}", nearest(name, EXECUTORS))
    if address is not None and name in ("serial", "processes"):
        raise UsageError(f"--executor {name} has no --address", "give --executor ray or slurm")
    if slurm and name != "slurm":
        raise UsageError(f"--slurm and --executor {name}", "give --executor slurm")
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes(jobs or 1, timeout)
    if name == "ray":
        return Ray(jobs, address, timeout)
    return Slurm(jobs or 1, address or "slurm", parameters=slurm or {}, timeout=timeout)
