"""A process that runs jobs: a fresh interpreter with one thread, driven over a pipe, dead with its parent.

Run as ``python -m vae_se.benchmark.worker FD`` by :class:`Process`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from .rows import Row
from .unit import Bench, Job, Settings

# One thread whatever the number of jobs: sums are then added in the same order, and scores agree to
# the last bit. Read by the libraries when they are loaded, hence set before the process starts.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")}
READY, DONE = "ready", "done"


class Process:
    """The parent's handle: :meth:`start` a job, then :meth:`receive` its rows one by one."""

    def __init__(self, settings: Settings) -> None:
        self.connection, theirs = Pipe()
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        fd = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vae_se.benchmark.worker", str(fd)],
            pass_fds=[fd],
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self.job: Job | None = None
        self.done: set[str] = set()
        self._since = time.monotonic()
        self._send(settings)

    def _send(self, value: Any) -> None:
        # Where it died already, receive() will say so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(value)

    def start(self, job: Job) -> None:
        """Give it a job; it must have none."""
        self.job, self.done = job, set()
        self._since = time.monotonic()
        self._send(job)

    def receive(self) -> Row | str | None:
        """A row, :data:`READY` after the start, :data:`DONE` after a job, or None where the process died."""
        try:
            value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        self._since = time.monotonic()
        if isinstance(value, dict):
            self.done.add(value["method"])
            return value
        if value == DONE:
            self.job = None
        return str(value)

    def busy_seconds(self) -> float:
        """Time since it was heard of last."""
        return time.monotonic() - self._since

    def death(self) -> str:
        """How it ended."""
        code = self._process.wait()
        if code < 0:
            return f"the process crashed ({signal.Signals(-code).name})"
        return f"the process ended with status {code}"

    def stop(self) -> None:
        """End it now."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


def _die_with_parent(parent: int) -> None:
    """A killed parent cannot stop its workers: they look."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def serve(connection: Connection) -> None:
    """Run jobs until the pipe closes."""
    bench: Bench | None = None
    try:
        bench = Bench(connection.recv())
        connection.send(READY)
        while True:
            job = connection.recv()
            for row in bench.run(job):
                connection.send(row)
            connection.send(DONE)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        if bench is not None:
            bench.close()


if __name__ == "__main__":
    # Ctrl-C goes to every process of the terminal; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    serve(Connection(int(sys.argv[1])))
