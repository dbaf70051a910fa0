"""The errors that a person meets: one line of what, one line of what to do.

Every error that vae-se raises on purpose derives from :class:`VaeSeError`. The command line prints
``str(error)`` and the hint and exits with ``exit_code``; the traceback is for ``--debug`` only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VaeSeError(Exception):
    """Base class. ``hint`` says what to do; ``exit_code`` is that of the command line."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(VaeSeError, ValueError):
    """What was asked for cannot be meant: unknown name, key or value."""

    exit_code = 2


class AudioError(VaeSeError):
    """A file or an array that is not audio which can be processed."""


class PriorError(VaeSeError):
    """Weights or configuration of a prior that cannot be used."""


class NoiseError(VaeSeError):
    """A learnt dictionary of noise that cannot be used."""


class OutputError(VaeSeError):
    """An output that cannot be written."""


class ExecutionError(VaeSeError):
    """Workers that cannot be started, or an engine that cannot be reached."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A sentence naming the known names nearest to ``name`` (all of them where they are few)."""
    names = sorted(known)
    if not names:
        return "none is known"
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(names)
