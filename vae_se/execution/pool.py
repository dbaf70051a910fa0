"""A pool of workers with a bounded queue. Each is driven by a thread; a worker that dies is replaced."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from types import TracebackType
from typing import Any

from ..errors import ExecutionError
from .base import Died, RemoteHandle, Results, Tasks

_Answers = list[Any]
_GRACE_SECONDS = 20.0  # for interrupted workers to end
_Waiting = tuple["Future[_Answers]", Sequence[Any]]


class Pool:
    """``jobs`` workers; ``start`` makes a worker when there is a task for it.

    A task whose worker dies is tried ``attempts`` times in total, or once if it took more than ``timeout``
    seconds; after that, each of several items is tried once alone. A worker is replaced after ``recycle``
    tasks. :meth:`submit` blocks while ``2 * jobs`` tasks wait, which bounds memory.
    """

    def __init__(
        self,
        start: Callable[[], RemoteHandle],
        jobs: int,
        *,
        attempts: int = 2,
        timeout: float | None = None,
        recycle: int | None = None,
    ) -> None:
        self.jobs = jobs
        self._start, self._attempts, self._timeout, self._recycle = start, attempts, timeout, recycle
        self._tasks: queue.Queue[_Waiting | None] = queue.Queue(2 * jobs)
        self._closed = self._cancelled = False
        self._workers: set[RemoteHandle] = set()
        self._threads = [threading.Thread(target=_Driver(self).serve, daemon=True) for _ in range(jobs)]
        for thread in self._threads:
            thread.start()

    def submit(self, items: Sequence[Any]) -> Future[_Answers]:
        """Queue a task; the future holds one result, or Died, per item. Raises RuntimeError after close."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        future: Future[_Answers] = Future()
        self._tasks.put((future, items))
        return future

    def run(self, tasks: Tasks) -> Results:
        """Numbers and results of tasks in the order of completion; closes the pool at the end."""
        numbered = enumerate(tasks)
        with self:
            flight: dict[Future[_Answers], int] = {}
            while True:
                for number, items in islice(numbered, 2 * self.jobs - len(flight)):
                    flight[self.submit(items)] = number
                if not flight:
                    return
                done, _ = wait(flight, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=flight.__getitem__):
                    yield flight.pop(future), future.result()

    def pids(self) -> list[int]:
        """Process ids of the running workers, where they are known."""
        return [worker.pid for worker in list(self._workers) if worker.pid is not None]

    def close(self, *, cancel: bool = False) -> None:
        """End the workers after the queued tasks; with ``cancel``, cancel queued and running tasks."""
        if self._closed:
            return
        self._closed, self._cancelled = True, cancel
        if cancel:
            while not self._tasks.empty():
                item = self._tasks.get_nowait()
                if item is not None:
                    item[0].cancel()
            for worker in list(self._workers):
                threading.Thread(target=worker.interrupt, daemon=True).start()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(_GRACE_SECONDS if cancel else None)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)


class _Driver:
    """A thread of a pool, and the worker that it drives."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker: RemoteHandle | None = None
        self._served = 0

    def serve(self) -> None:
        """Process tasks until the pool is closed."""
        while (waiting := self._pool._tasks.get()) is not None:
            future, items = waiting
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._task(items))
                except BaseException as error:
                    future.set_exception(error)
            del future, items, waiting
        self._retire()

    def _task(self, items: Sequence[Any]) -> _Answers:
        for _ in range(self._pool._attempts):
            answer = self._ask(items)
            if not isinstance(answer, Died):
                return list(answer)
            if answer.hung:
                break
        if len(items) == 1:
            return [answer]
        results: _Answers = []
        for item in items:
            alone = self._ask([item])
            results += [alone] if isinstance(alone, Died) else alone
        return results

    def _ask(self, items: Sequence[Any]) -> Sequence[Any] | Died:
        pool = self._pool
        if pool._cancelled:
            return Died("cancelled", hung=True)
        if pool._recycle is not None and self._served >= pool._recycle:
            self._retire()
        if self._worker is None:
            self._worker = self._started()
        if self._worker is None:
            return Died("cancelled", hung=True)
        self._served += 1
        answer = self._worker.ask(items, pool._timeout)
        if isinstance(answer, Died):
            self._retire()
        return answer

    def _started(self) -> RemoteHandle | None:
        """A worker that is ready; None where the pool was cancelled meanwhile.

        A second one is tried, as for a task: the first may have been killed while it started.
        """
        pool, self._served = self._pool, 0
        for last in (False, True):
            self._worker = worker = pool._start()
            pool._workers.add(worker)  # from here on it can be interrupted
            try:
                if not pool._cancelled:
                    worker.ready()
                    return worker
            except BaseException as error:
                if not pool._cancelled and (last or not isinstance(error, ExecutionError)):
                    self._retire()
                    raise
            self._retire()
            if pool._cancelled:
                break
        return None

    def _retire(self) -> None:
        if self._worker is not None:
            self._pool._workers.discard(self._worker)
            self._worker.stop()
            self._worker = None
