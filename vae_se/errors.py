"""Errors for users: one line says what is wrong, one line what to do.

All errors that vae-se raises on purpose derive from :class:`VaeSeError`. The command line prints the message
and the hint, and exits with ``exit_code``; it shows the traceback with ``--debug`` only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VaeSeError(Exception):
    """Base class. ``message`` says what is wrong, ``hint`` what to do; ``str(error)`` gives both.

    ``exit_code`` is the exit code of the command line.

    >>> str(VaeSeError("no input", "name a file"))
    'no input (name a file)'
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(VaeSeError, ValueError):
    """An unknown or invalid name, setting or value."""

    exit_code = 2


class AudioError(VaeSeError):
    """A file or an array that is not audio, or audio that cannot be processed."""


class PriorError(VaeSeError):
    """Weights or a configuration of a prior that cannot be used."""


class UnknownPriorError(PriorError, UsageError):
    """A name or folder that is no prior: a usage error for the command line."""

    exit_code = 2


class NoiseError(VaeSeError):
    """A noise dictionary that cannot be used."""


class OutputError(VaeSeError):
    """An output that cannot be written."""


class ExecutionError(VaeSeError):
    """Workers that cannot be started, or a cluster that cannot be reached."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A hint with up to ``count`` of the known names that resemble ``name``, or with all names if none does.

    >>> nearest("mcme", ["mcem", "om-lsa"])
    'did you mean mcem?'
    """
    names = sorted(known)
    if not names:
        return "there are none"
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(names)
