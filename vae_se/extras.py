"""Optional packages, looked for before work begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from .errors import UsageError


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed, in order; none is imported. "" is no package.

    >>> missing(["json", "no_such_package", ""])
    ['no_such_package']
    """
    return [name for name in dict.fromkeys(packages) if name and importlib.util.find_spec(name) is None]


def need(what: str, package: str, extra: str) -> None:
    """Raise UsageError where ``package`` is not installed; ``what`` needs it and the ``extra`` installs it."""
    if missing([package]):
        raise UsageError(f"{what} needs {package}, which is not installed", f"pip install 'vae-se[{extra}]'")
