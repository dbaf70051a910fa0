"""The program of a worker process, run by :class:`~vae_se.execution.process.Process` as ``-m ... FD
PARENT``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from . import reports
from .base import Make

_GRACE_SECONDS = 10.0  # for temporary files to be removed


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a parent that is killed cannot stop its workers."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _unwind(*_: object) -> None:
    """End the process by an exception, so that temporary files are removed."""
    raise SystemExit(128 + signal.SIGTERM)


def _serve(connection: Connection) -> None:
    """Make the handle, then answer tasks with (exception, results) until the pipe is closed."""
    handle: Any = None
    answer: tuple[Exception | None, Any]
    while True:
        items: Sequence[Any] | Make = connection.recv()
        try:
            if handle is None:
                handle, answer = items(), (None, None)  # type: ignore[operator]
                signal.signal(
                    signal.SIGTERM, _unwind
                )  # not before: imports write no files, and may swallow exceptions
            else:
                answer = (None, handle(items))
        except Exception as error:
            answer = (error, None)
        connection.send(answer)
        del items, answer  # free their memory before waiting for the next task


if __name__ == "__main__":
    # The terminal sends ^C to all of its processes; the parent decides when its workers end. It has blocked the
    # signal for the time until here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe = Connection(int(sys.argv[1]))
        reports.connect(pipe)
        try:
            _serve(pipe)
        except KeyboardInterrupt:  # a SIGTERM that an import has deferred; SIGINT is ignored
            _unwind()
