"""A worker in a process of its own: a new interpreter with one thread, driven over a pipe.

The process is spawned, since torch does not survive a fork once it has threads. It is not a child of
multiprocessing, so that scripts need no ``__main__`` guard and the limits on threads are set before NumPy and
torch are imported. It runs :mod:`vae_se.execution.child`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from ..errors import ExecutionError
from .base import Died, Make
from .reports import Report, TakeReport

#: One thread for any number of workers: sums are then added in the same order, and results agree to the last
#: bit. The libraries read these variables when they are loaded, so they are set before the process starts.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")}
_START_SECONDS = 300.0  # to import torch and load a model on a busy machine
_GRACE_SECONDS = 10.0  # for temporary files to be removed


class Process:
    """The parent's end of a worker process, which is ready after :meth:`ready`.

    ``take_report`` is called with what the worker reports while it works on a task.
    """

    def __init__(self, make: Make, take_report: TakeReport | None = None) -> None:
        self._make, self._take_report = make, take_report
        self._connection, theirs = Pipe()
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        # The process inherits the mask: a ^C from the terminal waits until the process ignores it, instead of
        # raising an exception in the middle of its imports.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.child", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # output of libraries must not mix with the program's
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid: int | None = self._process.pid
        theirs.close()

    def ready(self) -> None:
        """Wait until the worker has made its handle.

        Raises the exception of ``make``, or ExecutionError where the process dies or takes too long.
        """
        started = self.ask(self._make, _START_SECONDS)
        if isinstance(started, Died):
            raise ExecutionError(
                f"a worker could not be started: {started.reason}", "out of memory? fewer --jobs"
            )

    def ask(self, items: Any, timeout: float | None) -> Any:
        """The results of the items; Died where the process dies or does not answer in ``timeout`` seconds."""
        try:
            self._connection.send(items)
            answer = self._answer(timeout)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return Died(self._death())
        if answer is None:
            return Died(f"no result within {timeout:g} s", hung=True)
        error, results = answer
        if error is not None:
            raise error
        return results

    def _answer(self, timeout: float | None) -> tuple[Exception | None, Any] | None:
        """The next answer, after any reports; None where it does not come in ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._connection.poll(None if deadline is None else max(0.0, deadline - time.monotonic())):
            message = self._connection.recv()
            if not isinstance(message, Report):
                answer: tuple[Exception | None, Any] = message
                return answer
            if self._take_report is not None:
                self._take_report(message.value)
        return None

    def _death(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"the process crashed ({signal.Signals(-code).name})"
        return f"the process ended with status {code}"

    def interrupt(self) -> None:
        """Send SIGTERM, so that the process cleans up, and SIGKILL if it does not end in time."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        self._process.kill()

    def stop(self) -> None:
        """End the process at once."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
