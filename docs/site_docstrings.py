"""Extension of griffe: docstrings, which hold roles of reStructuredText and doctests, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([.\w]+)`")
_DOCTEST = re.compile(r"(?:^>>> .*\n(?:^(?!>>> )(?!\s*$).*\n)*)+", re.MULTILINE)


def _name(match: re.Match[str]) -> str:
    """A role as the name in it; with a tilde, its last part alone."""
    return f"`{match[2].rpartition('.')[2] if match[1] else match[2].lstrip('.')}`"


def as_markdown(text: str) -> str:
    """The text of a docstring as Markdown: names in code type, examples in blocks."""
    text = _ROLE.sub(
        lambda match: f"`{match[2].rpartition('.')[2] if match[1] else match[2].lstrip('.')}`", text
    )
    text = text.replace("``", "`")
    return _DOCTEST.sub(lambda match: f"```pycon\n{match[0]}```\n", text + "\n")


class Docstrings(griffe.Extension):
    """Rewrites every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called once per module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
