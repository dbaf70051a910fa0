"""Scoring in worker processes of one thread each; a crash or a hang of a metric costs one score."""

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
from .scoring import refused, score_here

Scores = dict[str, Score]


class ScorePool:
    """``jobs`` worker processes (by default one per core) that take pairs from a bounded queue.

    >>> with ScorePool(2) as pool:                                                # doctest: +SKIP
    ...     future = pool.submit(["pesq_wb", "stoi"], clean, enhanced, 16000)
    ...     future.result()["pesq_wb"].value

    A future holds one Score per name; after a crash, after ``timeout`` seconds and for a pair that cannot be
    scored the value is NaN with a reason. ``submit`` blocks while ``2 * jobs`` pairs wait, so memory use does
    not grow with the number of files. If a process dies while it computes several metrics, they are computed
    again one by one, so that only the metric at fault is lost. A process is replaced after ``recycle`` pairs.
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
        """Queue a pair; the arguments are those of :func:`score`. Blocks while the queue is full.

        Raises UsageError for an unknown name and RuntimeError after :meth:`close`.
        """
        for name in names:
            METRICS[name]
        # One task for all names: the pair is pickled once, and intermediate results are shared by the metrics.
        pair = (reference, estimate, rate, noisy, noise)
        scores: Future[Scores] = Future()
        answer = self._pool.submit([(name, pair) for name in names])
        answer.add_done_callback(functools.partial(_collect, tuple(names), scores))
        return scores

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return self._pool.pids()

    def close(self, *, cancel: bool = False) -> None:
        """End the processes after the queued pairs are scored; with ``cancel`` the queue is dropped."""
        self._pool.close(cancel=cancel)

    def __enter__(self) -> ScorePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=kind is not None)


def _collect(names: tuple[str, ...], scores: Future[Scores], answer: Future[list[Any]]) -> None:
    """Set ``scores`` from the answers of a task, one answer per name."""
    if answer.cancelled():
        scores.cancel()
        return
    error = answer.exception()
    if error is not None:  # no process can be started
        scores.set_result(refused(names, str(error)))
        return
    scores.set_result({
        name: Score(float("nan"), found.reason) if isinstance(found, Died) else found
        for name, found in zip(names, answer.result(), strict=True)
    })  # fmt: skip


def make() -> Handle:
    """The function that every worker process runs."""

    def handle(items: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Score]:
        names, (reference, estimate, rate, noisy, noise) = [name for name, _ in items], items[0][1]
        try:
            scores = score_here(names, reference, estimate, rate, noisy=noisy, noise=noise)
        except Exception as error:  # the names were checked by submit; any other error is a reason
            scores = refused(names, f"{type(error).__name__}: {error}")
        return [scores[name] for name in names]

    return handle


def score(
    names: Sequence[str],
    reference: np.ndarray,
    estimate: np.ndarray,
    rate: int,
    *,
    noisy: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    timeout: float | None = None,
) -> Scores:
    """Score an estimate against its reference by the metrics in ``names``.

    ``reference`` and ``estimate`` are (T,), or (C, T) with the mean over channels as the score; ``rate`` is
    in Hz. SI-SIR and SI-SAR need the noise that was added: ``noise``, or ``noisy - reference`` if ``noisy``
    is given.

    A metric that has no value for this pair gives NaN and a reason. With a ``timeout`` in seconds the metrics
    run in a process of their own, so that a crash or a hang of a library is a reason, too; for many pairs use
    :class:`ScorePool`, which keeps its processes. Raises UsageError for an unknown name and nothing else.
    """
    if timeout is None:
        return score_here(names, reference, estimate, rate, noisy=noisy, noise=noise)
    with ScorePool(1, timeout=timeout) as pool:
        return pool.submit(names, reference, estimate, rate, noisy=noisy, noise=noise).result()


__all__ = ["ScorePool", "Scores", "score"]
