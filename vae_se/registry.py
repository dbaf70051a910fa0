"""A mapping from public names to objects; an unknown name raises an error that lists the nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .errors import UsageError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from public names to objects of one kind, iterated in alphabetical order.

    >>> greetings = Registry[str]("greeting")
    >>> greetings.add("hello")("Hello, world")
    'Hello, world'
    >>> greetings["hello"]
    'Hello, world'
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that registers its argument under ``name``; ValueError if the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")

        def register(item: T) -> T:
            self._items[name] = item
            return item

        return register

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            raise UsageError(f"unknown {self.kind} {name!r}", nearest(name, self._items)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)
