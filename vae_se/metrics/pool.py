"""Scoring in processes of their own: all cores, one thread each, and a crash or a hang costs one row."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .base import METRICS, Score
from .scoring import refused

Scores = dict[str, Score]

# Read by the libraries when they are loaded, hence set before the process starts.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
}
_START_SECONDS = 120.0  # an interpreter with SciPy, on a machine that is busy


class _Worker:
    """One scoring process and its pipe."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        environment = {**os.environ, **_ONE_THREAD}
        package = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        fd = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vae_se.metrics.worker", str(fd)],
            pass_fds=[fd], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self.served = 0
        if not self.connection.poll(_START_SECONDS) or self._receive() != "ready":
            ended = self.process.poll()
            self.stop()
            raise RuntimeError(f"a scoring process did not start (exit status {ended})")

    def _receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None

    def ask(self, task: tuple[Any, ...], timeout: float) -> Scores | str:
        """The scores, or the reason why the worker is of no use any more."""
        self.served += 1
        try:
            self.connection.send(task)
        except (BrokenPipeError, ConnectionResetError):
            return self._death()
        if not self.connection.poll(timeout):
            return f"no score within {timeout:g} s"
        answer = self._receive()
        if answer is None:
            return self._death()
        return {name: Score(*value) for name, value in answer.items()}

    def _death(self) -> str:
        code = self.process.wait()
        if code < 0:
            return f"the scoring process crashed ({signal.Signals(-code).name})"
        return f"the scoring process ended with status {code}"

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


class ScorePool:
    """``jobs`` scoring processes behind a bounded queue.

    >>> with ScorePool(2) as pool:                                                # doctest: +SKIP
    ...     future = pool.submit(["pesq_wb", "stoi"], clean, enhanced, 16000)
    ...     future.result()["pesq_wb"].value

    A future always holds one Score a name: a crash, a hang past ``timeout`` seconds and a refused pair are
    NaN with the reason. ``submit`` blocks while ``2 * jobs`` pairs wait, so memory stays flat however many
    files there are. When several metrics are asked for and the process dies, they are asked one by one, so
    that only the one at fault is lost. ``recycle`` pairs after its start a process is replaced.
    """

    def __init__(self, jobs: int | None = None, *, timeout: float = 120.0, recycle: int = 1000) -> None:
        self.jobs = max(1, jobs if jobs else os.cpu_count() or 1)
        self.timeout = timeout
        self.recycle = recycle
        self._tasks: queue.Queue[tuple[Future[Scores], tuple[Any, ...]] | None] = queue.Queue(2 * self.jobs)
        self._closed = False
        self._workers: set[_Worker] = set()
        self._threads = [
            threading.Thread(target=self._run, name=f"scores-{i}", daemon=True) for i in range(self.jobs)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        names: Sequence[str],
        reference: np.ndarray,
        estimate: np.ndarray,
        rate: int,
        *,
        noisy: np.ndarray | None = None,
        noise: np.ndarray | None = None,
    ) -> Future[Scores]:
        """Queue a pair; arguments as in :func:`vae_se.metrics.score`. Blocks while the queue is full.

        Raises UsageError for an unknown name and RuntimeError after :meth:`close`.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        for name in names:
            METRICS[name]
        future: Future[Scores] = Future()
        self._tasks.put((future, (tuple(names), reference, estimate, rate, noisy, noise)))
        return future

    def _run(self) -> None:
        worker: _Worker | None = None
        while (item := self._tasks.get()) is not None:
            future, task = item
            del item
            if future.set_running_or_notify_cancel():
                try:
                    worker, scores = self._score(worker, task)
                    future.set_result(scores)
                except Exception as error:  # no process can be started: the row says so
                    worker = None
                    future.set_result(refused(task[0], str(error)))
            del future, task
        if worker is not None:
            self._retire(worker)

    def _score(self, worker: _Worker | None, task: tuple[Any, ...]) -> tuple[_Worker | None, Scores]:
        names = task[0]
        worker, answer = self._ask(worker, task)
        if not isinstance(answer, str):
            return worker, answer
        if len(names) == 1:
            return worker, refused(names, answer)
        scores: Scores = {}
        for name in names:
            worker, alone = self._ask(worker, ((name,), *task[1:]))
            scores |= refused([name], alone) if isinstance(alone, str) else alone
        return worker, scores

    def _ask(self, worker: _Worker | None, task: tuple[Any, ...]) -> tuple[_Worker | None, Scores | str]:
        if worker is not None and worker.served >= self.recycle:
            self._retire(worker)
            worker = None
        if worker is None:
            worker = _Worker()
            self._workers.add(worker)
        answer = worker.ask(task, self.timeout)
        if isinstance(answer, str):
            self._retire(worker)
            return None, answer
        return worker, answer

    def _retire(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.stop()

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return [worker.process.pid for worker in list(self._workers)]

    def close(self, *, cancel: bool = False) -> None:
        """End the processes after what is queued is done; with ``cancel`` drop what has not begun."""
        if self._closed:
            return
        self._closed = True
        if cancel:
            while True:
                try:
                    item = self._tasks.get_nowait()
                except queue.Empty:
                    break
                if item is not None:
                    item[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> ScorePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)


__all__ = ["ScorePool", "Scores"]
