"""What workers do in the tests of executors; in a module of its own, so that other processes can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import vae_se.errors


def squares():
    """Numbers to (their squares, the process)."""
    return lambda items: [(item * item, os.getpid()) for item in items]


def threads():
    """What limits the threads of the libraries."""
    return lambda items: [os.environ["OMP_NUM_THREADS"] for _ in items]


def faulty(folder: str):
    """An item is ``name`` or ``name:fault``; results are ``name``. Each attempt leaves a line in a file."""

    def handle(items):
        with (Path(folder) / "attempts").open("a") as file:
            file.write(",".join(items) + "\n")
        for item in items:
            name, _, fault = item.partition(":")
            before = Path(folder) / f"{name}.before"
            if fault == "dies" or (fault == "dies-once" and not before.exists()):
                before.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "hangs":
                time.sleep(60)
            if fault == "raises":
                raise ValueError(name)
        return [item.partition(":")[0] for item in items]

    return handle


def slow(seconds: float):
    """Numbers to (the number, the process), each after a while."""

    def handle(items):
        time.sleep(seconds)
        return [(item, os.getpid()) for item in items]

    return handle


def naps():
    """Seconds to the process, after so long."""

    def handle(items):
        for seconds in items:
            time.sleep(seconds)
        return [os.getpid() for _ in items]

    return handle


def cannot_start():
    """A worker that finds no model."""
    raise vae_se.errors.PriorError("no such prior", "choose another")


def dies_at_the_start():
    """A worker for which there is no memory."""
    os.kill(os.getpid(), signal.SIGKILL)
