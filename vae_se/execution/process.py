"""A worker in a process of its own: a fresh interpreter with one thread, driven over a pipe.

A fresh interpreter (spawned, not forked, since torch does not survive a fork once it has threads) rather
than a multiprocessing child, so that scripts need no ``__main__`` guard and the limits on threads are in
place before NumPy and torch are loaded. What it runs is :mod:`vae_se.execution.child`.
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

#: One thread whatever the number of workers: sums are then added in the same order, and results agree to the
#: last bit. Read by the libraries when they are loaded, hence set before the process starts.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")}
_START_SECONDS = 300.0  # an interpreter with torch and a model, on a machine that is busy
_GRACE_SECONDS = 10.0  # for temporary files to be removed


class Process:
    """The parent's end of a worker process. Ready when it is made.

    Raises what ``make`` raised there, or ExecutionError where the process could not be started.
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
            stdout=subprocess.DEVNULL,  # what a library prints is not the program's output
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
        """The results of the items; Died where it dies of them or gives none in ``timeout`` seconds."""
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
        """SIGTERM, upon which it cleans up after itself, and SIGKILL where it does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        self._process.kill()

    def stop(self) -> None:
        """End it now."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
