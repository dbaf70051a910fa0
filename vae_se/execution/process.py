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
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from ..errors import ExecutionError
from .base import Died, Make

#: One thread for any number of workers: sums are then added in the same order, and results agree to the last
#: bit. The libraries read these variables when they are loaded, so they are set before the process starts.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")}
_START_SECONDS = 300.0  # to import torch and load a model on a busy machine
_GRACE_SECONDS = 10.0  # for temporary files to be removed


class Process:
    """The parent's end of a worker process. The constructor returns when the worker is ready.

    Raises the exception of ``make``, or ExecutionError where the process cannot be started.
    """

    def __init__(self, make: Make) -> None:
        self._connection, theirs = Pipe()
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.child", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # output of libraries must not mix with the program's
        )
        self.pid: int | None = self._process.pid
        theirs.close()
        try:
            started = self.ask(make, _START_SECONDS)
        except BaseException:
            self.stop()
            raise
        if isinstance(started, Died):
            self.stop()
            raise ExecutionError(
                f"a worker could not be started: {started.reason}", "out of memory? fewer --jobs"
            )

    def ask(self, items: Any, timeout: float | None) -> Any:
        """The results of the items; Died where the process dies or does not answer in ``timeout`` seconds."""
        try:
            self._connection.send(items)
            if not self._connection.poll(timeout):
                return Died(f"no result within {timeout:g} s", hung=True)
            error, results = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return Died(self._death())
        if error is not None:
            raise error
        return results

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
