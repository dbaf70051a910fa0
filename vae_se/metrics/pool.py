"""Scoring in processes of their own: all cores, one thread each, and a crash or a hang costs one row."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import numpy as np

from ..execution import Died, Handle, Pool
from ..execution.process import Process
from .base import METRICS, Score
from .scoring import refused, score

Scores = dict[str, Score]


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
        start = functools.partial(Process, make)
        self._pool = Pool(start, self.jobs, attempts=1, timeout=timeout, recycle=recycle)

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
        for name in names:
            METRICS[name]
        # One pair for all names: it is pickled once, and computes once what several metrics need.
        pair = (reference, estimate, rate, noisy, noise)
        scores: Future[Scores] = Future()
        answer = self._pool.submit([(name, pair) for name in names])
        answer.add_done_callback(functools.partial(_collect, tuple(names), scores))
        return scores

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return self._pool.pids()

    def close(self, *, cancel: bool = False) -> None:
        """End the processes after what is queued is done; with ``cancel`` drop that."""
        self._pool.close(cancel=cancel)

    def __enter__(self) -> ScorePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)


def _collect(names: tuple[str, ...], scores: Future[Scores], answer: Future[list[Any]]) -> None:
    """The answers of a task, one a name, as the scores of a pair."""
    if answer.cancelled():
        scores.cancel()
        return
    error = answer.exception()
    if error is not None:  # no process can be started: the row says so
        scores.set_result(refused(names, str(error)))
        return
    scores.set_result({
        name: Score(float("nan"), found.reason) if isinstance(found, Died) else found
        for name, found in zip(names, answer.result(), strict=True)
    })  # fmt: skip


def make() -> Handle:
    """What is run in every process."""

    def handle(items: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Score]:
        names, (reference, estimate, rate, noisy, noise) = [name for name, _ in items], items[0][1]
        try:
            scores = score(names, reference, estimate, rate, noisy=noisy, noise=noise)
        except Exception as error:  # the caller checked the names: anything else is a row
            scores = refused(names, f"{type(error).__name__}: {error}")
        return [scores[name] for name in names]

    return handle


__all__ = ["ScorePool", "Scores"]
