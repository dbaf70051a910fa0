"""A fixed part of the work, for several independent runs of one command."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ..errors import UsageError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part ``which`` of ``of`` parts, counted from 1; each item belongs to one part."""

    which: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """The shard for ``I/N``; None is the whole. Raises UsageError.

        >>> list(Shard.parse("2/3").of_all("abcdefg"))
        ['b', 'e']
        """
        if text is None:
            return cls()
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard {text}: expected I/N with I from 1 to N", "for example --shard 1/2")
        return cls(int(match[1]), int(match[2]))

    def of_all(self, items: Iterable[T]) -> Iterator[T]:
        """The items of this shard: every ``of``-th from number ``which`` on."""
        return islice(items, self.which - 1, None, self.of)

    def __str__(self) -> str:
        return f"{self.which}/{self.of}"
