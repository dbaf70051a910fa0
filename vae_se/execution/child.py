"""The inside of a worker process. Run by :class:`~vae_se.execution.process.Process` as ``-m ... FD PARENT``."""

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

from .base import Make

_GRACE_SECONDS = 10.0  # for temporary files to be removed


def _end_with(parent: int) -> None:
    """A parent that is killed cannot stop its workers: they look. No half of a file stays behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _unwind(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _serve(connection: Connection) -> None:
    """Make the handle, then answer tasks until the pipe closes, each with (what was raised, results)."""
    handle: Any = None
    answer: tuple[Exception | None, Any]
    while True:
        items: Sequence[Any] | Make = connection.recv()
        try:
            if handle is None:
                handle, answer = items(), (None, None)  # type: ignore[operator]
                signal.signal(signal.SIGTERM, _unwind)  # an import may not be unwound, and writes nothing
            else:
                answer = (None, handle(items))
        except Exception as error:
            answer = (error, None)
        connection.send(answer)
        del items, answer  # not to be held while the next task is waited for


if __name__ == "__main__":
    # ^C goes to every process of the terminal; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _serve(Connection(int(sys.argv[1])))
