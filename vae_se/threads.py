"""Threads that share the work of a recording, beside a torch that computes with one thread.

By default torch divides every operation among its threads, which wait for each other in loops that use the
core. Where other processes want the cores, one of these threads is always late, and each of thousands of small
operations waits for it. Inside :func:`dividing_work`, torch computes with one thread, and :func:`each` gives
blocks of frames, a millisecond of work each, to threads that sleep while they wait: whoever is free takes the
next block.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")

#: More threads than this find no work: a recording has few blocks.
MOST = 64

#: Number of threads that :func:`each` uses; None outside :func:`dividing_work`.
_threads: ContextVar[int | None] = ContextVar("threads", default=None)


@contextlib.contextmanager
def dividing_work(threads: int | None = None) -> Iterator[None]:
    """In the block, torch computes with one thread, and :func:`each` uses ``threads`` threads.

    None: as many as torch is set to use. The caller's setting is changed neither for other threads nor for
    later: only the calling thread is limited, until the end of the block. In a block within a block the outer
    one decides.
    """
    if _threads.get() is not None:
        yield
        return
    before = torch.get_num_threads()
    token = _threads.set(min(threads or before, MOST))
    try:
        limit_this_thread()
        yield
    finally:
        _threads.reset(token)
        if before != 1:
            torch.set_num_threads(before)


def available() -> int:
    """Number of threads that :func:`each` can use here."""
    return _threads.get() or 1


def each(function: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """``function`` of every item, in order. Inside :func:`dividing_work` other threads take part.

    The caller does the work that no other thread has begun, so a thread that gets no core delays nothing. Calls
    of this function from ``function`` use one thread. Raises what ``function`` raises.

    >>> with dividing_work(2):
    ...     each(lambda n: n * n, range(5))
    [0, 1, 4, 9, 16]
    """
    helpers = min(available(), len(items)) - 1
    if helpers < 1:
        return [function(item) for item in items]
    waiting, gradients = deque(range(len(items))), torch.is_grad_enabled()
    results: dict[int, U] = {}

    def work() -> None:
        with torch.set_grad_enabled(gradients):
            while True:
                try:
                    number = waiting.popleft()
                except IndexError:
                    return
                results[number] = function(items[number])

    started = [_pool.helpers.submit(work) for _ in range(helpers)]
    token = _threads.set(1)
    try:
        work()
    finally:
        _threads.reset(token)
        waiting.clear()
        _finish(started)
    return [results[number] for number in range(len(items))]


def _finish(started: Sequence[Future[None]]) -> None:
    """Wait for the helpers that have begun, then raise the exception of one that failed."""
    begun = [future for future in started if not future.cancel()]
    failures = [error for future in begun if (error := future.exception()) is not None]
    if failures:
        raise failures[0]


def limit_this_thread() -> None:
    """Let torch compute with one thread in the calling thread, and in others as before.

    ``torch.set_num_threads`` sets the number for the calling thread, and in addition the number that other
    threads take over when they first use torch. A second thread sets the latter back.
    """
    with _pool.lock:
        before = torch.get_num_threads()
        if before != 1:
            torch.set_num_threads(1)
            _pool.keeper.submit(torch.set_num_threads, before).result()


class _Pool:
    """The threads of this process. They are started when they are needed, and sleep while they have no work."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.keeper = ThreadPoolExecutor(1, "vae-se-keeper")
        self.helpers = ThreadPoolExecutor(MOST, "vae-se", initializer=limit_this_thread)


_pool = _Pool()


def _start_anew() -> None:
    """Make the threads anew in a process that was forked, where the parent's threads do not exist."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)
