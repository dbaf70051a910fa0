"""Workers behind a bounded queue, each driven by a thread; one that dies is replaced."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from types import TracebackType
from typing import Any

from ..errors import ExecutionError
from .base import Died, Results, Tasks, Worker

_Answers = list[Any]
_GRACE_SECONDS = 20.0  # for workers that are interrupted; one that has not even started is left behind
_Waiting = tuple["Future[_Answers]", Sequence[Any]]


class Pool:
    """``jobs`` workers that ``start`` starts, each when there is a task for it.

    A task whose worker dies is tried ``attempts`` times in all as it is (once where it hung: more than
    ``timeout`` seconds), and then, if it has several items, each of them once alone. After ``recycle``
    tasks a worker is replaced. :meth:`submit` blocks while ``2 * jobs`` tasks wait, so that memory stays
    flat however many there are.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
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
        self._workers: set[Worker] = set()
        self._threads = [threading.Thread(target=_Driver(self).serve, daemon=True) for _ in range(jobs)]
        for thread in self._threads:
            thread.start()

    def submit(self, items: Sequence[Any]) -> Future[_Answers]:
        """Queue a task; its result is a list of one result an item, or Died. RuntimeError after close."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        future: Future[_Answers] = Future()
        self._tasks.put((future, items))
        return future

    def run(self, tasks: Tasks) -> Results:
        """Numbers and results of tasks as they are completed; closes the pool."""
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
        """Process ids of the workers that are alive, where they have any."""
        return [worker.pid for worker in list(self._workers) if worker.pid is not None]

    def close(self, *, cancel: bool = False) -> None:
        """End the workers after what is queued is done; with ``cancel`` drop that, and what is under way."""
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
    """One thread of a pool, and the worker that it drives."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker: Worker | None = None
        self._served = 0

    def serve(self) -> None:
        """Have tasks done until there is none any more."""
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
            self._worker, self._served = self._started(), 0
            pool._workers.add(self._worker)
            if pool._cancelled:  # while it started: too early to be interrupted
                return Died("cancelled", hung=True)
        self._served += 1
        answer = self._worker.ask(items, pool._timeout)
        if isinstance(answer, Died):
            self._retire()
        return answer

    def _started(self) -> Worker:
        try:
            return self._pool._start()
        except ExecutionError:
            return self._pool._start()  # killed while it started? once more, like a task

    def _retire(self) -> None:
        if self._worker is not None:
            self._pool._workers.discard(self._worker)
            self._worker.stop()
            self._worker = None
