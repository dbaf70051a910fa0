"""What a worker process tells its parent while it works on a task, such as progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

#: Takes what a worker reports; in the parent it is called from several threads.
TakeReport = Callable[[Any], None]


@dataclasses.dataclass(frozen=True)
class Report:
    """A message with a ``value`` on the pipe, apart from the results."""

    value: Any


_parent: Connection | None = None


def connect(connection: Connection) -> None:
    """Send the reports of this process to the parent at the other end of ``connection``."""
    global _parent
    _parent = connection


def report(value: Any) -> None:
    """Send a value to the parent; it is dropped in a process that is no worker."""
    if _parent is not None:
        _parent.send(Report(value))
