"""What differs between operating systems. Imports no library."""

from __future__ import annotations

import os

#: Whether workers can be processes: they get an open pipe and a mask of signals, which Windows does not know.
WORKER_PROCESSES = os.name == "posix"


def usable_cores() -> int:
    """Number of CPU cores that this process may use; all of the machine's where the system does not tell
    (macOS, Windows)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lock_file(descriptor: int) -> None:
    """Lock an open file against other processes until it is closed; Windows has no such lock.

    Raises BlockingIOError where another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
