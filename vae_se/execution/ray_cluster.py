"""Executor on a Ray cluster: each worker is an actor that holds the model (extra ``ray``).

Moritz et al., Ray: a distributed framework for emerging AI applications, 2018. Every node needs this package,
and the files under the same paths. Ray places the actors; the pool replaces dead ones and repeats their tasks,
as for processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Sequence
from typing import Any

from ..errors import ExecutionError, UsageError
from .base import Died, Handle, Make, Results, Tasks
from .pool import Pool
from .process import ONE_THREAD

_START_SECONDS = 300.0  # until a core is free and the model is loaded


class _Actor:
    """The actor on the node."""

    def __init__(self) -> None:
        self._handle: Handle | None = None

    def start(self, make: Make) -> None:
        self._handle = make()

    def ask(self, items: Sequence[Any]) -> Sequence[Any]:
        assert self._handle is not None
        return self._handle(items)


class ActorWorker:
    """The driver's end of an actor: a :class:`~vae_se.execution.base.RemoteHandle`."""

    pid: int | None = None

    def __init__(self, make: Make) -> None:
        ray = self._ray = _ray()
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor).remote()
        try:
            started = self._get(self._actor.start.remote(make), _START_SECONDS)
        except BaseException:
            self.stop()  # to free its core
            raise
        if isinstance(started, Died):
            self.stop()
            raise ExecutionError(f"a Ray worker could not be started: {started.reason}", "look at ray status")

    def ready(self) -> None:
        """Do nothing: the constructor has waited."""

    def ask(self, items: Sequence[Any], timeout: float | None) -> Sequence[Any] | Died:
        """The results of a task, or Died if the actor or its node died."""
        found: Sequence[Any] | Died = self._get(self._actor.ask.remote(items), timeout)
        return found

    def _get(self, reference: Any, timeout: float | None) -> Any:
        ray = self._ray
        try:
            return ray.get(reference, timeout=timeout)
        except ray.exceptions.GetTimeoutError:
            return Died(f"no result within {timeout:g} s", hung=True)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError):
            return Died("the Ray worker died")

    def interrupt(self) -> None:
        """End the actor at once; files that it was writing keep their temporary names."""
        self.stop()

    def stop(self) -> None:
        """End the actor at once."""
        with contextlib.suppress(Exception):  # the actor or the cluster may be gone already
            self._ray.kill(self._actor)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError("--executor ray needs ray", "pip install 'vae-se[ray]'") from None


@dataclasses.dataclass(frozen=True)
class Ray:
    """Runs tasks in ``jobs`` actors (None: one per core) on the cluster at ``address`` (None: starts one
    here)."""

    jobs: int | None = None
    address: str | None = None
    timeout: float | None = None

    def run(self, make: Make, tasks: Tasks) -> Results:
        """See :class:`~vae_se.execution.base.Executor`."""
        ray = _ray()
        try:
            ray.init(
                address=self.address,
                runtime_env={"env_vars": ONE_THREAD},
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises exceptions of many types
            raise ExecutionError(
                f"no Ray cluster: {' '.join(str(error).split())}", "is it up? ray status"
            ) from None
        try:
            cores = int(ray.cluster_resources().get("CPU", 1))
            # An actor without a core would wait forever, and its task with it.
            jobs = max(1, min(self.jobs or cores, cores))
            yield from Pool(functools.partial(ActorWorker, make), jobs, timeout=self.timeout).run(tasks)
        finally:
            ray.shutdown()
