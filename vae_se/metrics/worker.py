"""A scoring process: reads tasks from a pipe, scores them with one thread, answers. Started by the pool.

Run as ``python -m vae_se.metrics.worker FD``. It is a fresh interpreter rather than a multiprocessing
child, so the pool works from scripts without a ``__main__`` guard and the thread limits are in place
before NumPy is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection


def serve(connection: Connection) -> None:
    """Answer (names, reference, estimate, rate, noisy, noise) with the scores until the pipe closes."""
    from .scoring import refused, score

    connection.send("ready")
    while True:
        try:
            names, reference, estimate, rate, noisy, noise = connection.recv()
        except EOFError:
            return
        try:
            scores = score(names, reference, estimate, rate, noisy=noisy, noise=noise)
        except Exception as error:  # the caller checked the names: anything else is a row
            scores = refused(names, f"{type(error).__name__}: {error}")
        connection.send({name: tuple(value) for name, value in scores.items()})


if __name__ == "__main__":
    # Ctrl-C goes to every process of the terminal; the pool decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not reach the standard output of the program that scores.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        serve(Connection(int(sys.argv[1])))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
