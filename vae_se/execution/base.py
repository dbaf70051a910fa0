"""Protocols of executors and workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol

#: Maps the items of a task to one result per item, in the same order.
Handle = Callable[[Sequence[Any]], Sequence[Any]]
#: Called once in every worker. It is pickled: a function of a module, or a partial of one.
Make = Callable[[], Handle]
Tasks = Iterable[Sequence[Any]]
#: Number of a task, and one result per item, or :class:`Died`.
Results = Generator[tuple[int, list[Any]], None, None]


@dataclasses.dataclass(frozen=True)
class Died:
    """Replaces the result of an item whose worker died, or did not answer in time (``hung``)."""

    reason: str
    hung: bool = False


class RemoteHandle(Protocol):
    """A handle in another process, driven by one thread. ``pid`` is None where there is none to be told."""

    pid: int | None

    def ready(self) -> None:
        """Wait until the worker can take tasks. Raises the exception of ``make``, or ExecutionError."""

    def ask(self, items: Sequence[Any], timeout: float | None) -> Sequence[Any] | Died:
        """The results of a task. After :class:`Died`, the worker cannot be used any more."""

    def interrupt(self) -> None:
        """Cancel the current task, so that :meth:`ask` returns in its thread. May be called from any thread."""

    def stop(self) -> None:
        """End the worker at once."""


class Executor(Protocol):
    """Runs tasks in workers."""

    def run(self, make: Make, tasks: Tasks) -> Results:
        """Numbers of tasks, from 0, and their results, in the order of completion.

        Tasks are taken from the iterable when workers become free. A task whose worker dies is given to another
        worker; if that dies as well, each of its items is tried once alone, and the result of an item that
        fails again is :class:`Died`. Exceptions of ``make`` and of handles are raised here; a worker that
        cannot be started raises :class:`~vae_se.errors.ExecutionError`. Closing the iterator cancels running
        tasks and ends the workers.
        """
