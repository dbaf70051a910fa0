"""What a protocol says about one method: its label, its implementation, and the options for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError


@dataclass(frozen=True)
class MethodSpec:
    """``label`` in the tables, ``use``: the implementation, ``options``: pairs of dotted key and value."""

    label: str
    use: str
    options: tuple[tuple[str, Any], ...] = ()


def check_label(label: str) -> None:
    """Raise UsageError for a label that cannot name a folder of saved audio.

    >>> check_label("vem-20")
    >>> check_label("../vem")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vae_se.errors.UsageError: method label '../vem' (a label consists of ...
    """
    if not re.fullmatch(r"[\w.+=@-]+", label) or label.startswith(".") or label == "clean":
        raise UsageError(
            f"method label {label!r}",
            "a label consists of letters, digits and _ . + = @ -, does not start with a dot, and is not clean",
        )
