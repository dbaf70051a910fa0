"""What executors, workers and those who use them agree on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol

#: From the items of a task to one result an item, in their order.
Handle = Callable[[Sequence[Any]], Sequence[Any]]
#: Called once in every worker; pickled, so a function of a module, or a partial of one.
Make = Callable[[], Handle]
Tasks = Iterable[Sequence[Any]]
#: Number of a task, and one result an item or :class:`Died`.
Results = Generator[tuple[int, list[Any]], None, None]


@dataclasses.dataclass(frozen=True)
class Died:
    """Stands where a result would: the worker died of the item, or gave nothing in time (``hung``)."""

    reason: str
    hung: bool = False


class Worker(Protocol):
    """A handle in another process, driven by one thread. ``pid`` is None where there is none to be told."""

    pid: int | None

    def ask(self, items: Sequence[Any], timeout: float | None) -> Sequence[Any] | Died:
        """The results of a task. After :class:`Died` the worker is of no use any more."""

    def interrupt(self) -> None:
        """What is under way is dropped; :meth:`ask` in the other thread then returns. From any thread."""

    def stop(self) -> None:
        """End it now."""


class Executor(Protocol):
    """A way to have tasks done."""

    def run(self, make: Make, tasks: Tasks) -> Results:
        """Numbers of tasks, from 0, and their results, in the order in which they are completed.

        Tasks are taken from the iterable as workers become free, not before. A task whose worker dies is
        given to another once more as it is; if that dies too, each of several items gets one try alone, and
        the result of an item that still has none is :class:`Died`. What ``make`` or a handle raises is
        raised here, and a worker that cannot be started is an :class:`~vae_se.errors.ExecutionError`.
        Closing the iterator drops what is under way and ends the workers.
        """
