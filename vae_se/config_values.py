"""Values of settings: parsed from text, checked against a type, written as TOML."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import UsageError

T = TypeVar("T")

_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
    types.NoneType: "none",
}


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, without ``low`` if ``above``, without ``high`` if ``below``.

    >>> str(Range(0, 1)), str(Range(0, 1e6, above=True)), str(Range(0, 1, above=True, below=True))
    ('0 to 1', 'above 0, to 1e6', 'between 0 and 1')
    >>> str(Range(0, math.inf)), 0.5 in Range(0, 1), 0 in Range(0, 1, above=True)
    ('0 or more', True, False)
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        low = self.low < value if self.above else self.low <= value
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low, high = (
            re.sub(r"e([+-])0*", lambda e: "e" + e[1].strip("+"), f"{x:g}") for x in (self.low, self.high)
        )
        if math.isinf(self.high):
            return f"above {low}" if self.above else f"{low} or more"
        if self.below:
            return f"between {low} and {high}" if self.above else f"{low} to below {high}"
        return f"above {low}, to {high}" if self.above else f"{low} to {high}"


def setting(default: T, help: str, unit: str = "", range: Range | None = None) -> T:
    """A dataclass field with its default, meaning, unit and range.

    docs/settings.md and ``--print-config`` are generated from these; values are checked against the range.
    """
    metadata = {"help": help, "unit": unit, "range": range}
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def in_range(value: Any, range: Range | None, key: str) -> Any:
    """``value``, where it is no number or in ``range``; UsageError elsewhere."""
    if range is None or not isinstance(value, (int, float)) or isinstance(value, bool) or value in range:
        return value
    raise UsageError(f"{key} = {value}", f"the range is {range}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys.

    >>> flatten({"seed": 3, "noise": {"rank": 8}})
    {'seed': 3, 'noise.rank': 8}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def parse_value(text: str) -> Any:
    """The TOML value that ``text`` spells; any other text is returned as it is, so that names need no quotes.

    >>> parse_value("0.5"), parse_value("nmf")
    (0.5, 'nmf')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def checked(value: Any, hint: Any, key: str) -> Any:
    """``value`` converted to the type ``hint`` of the setting ``key``.

    An int is accepted where a float is expected, and "none" where None is allowed (TOML has no null).
    Raises UsageError for a value of another type, or NaN.
    """
    wrong = UsageError(f"{key} = {value!r}: expected {spell(hint)}", "--print-config shows every setting")
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if types.NoneType in options and value in (None, "none"):
            return None  # tested before str, which would accept "none" too
        for option in options:
            try:
                return checked(value, option, key)
            except UsageError:
                continue
        raise wrong
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong
        try:
            return tuple(checked(item, typing.get_args(hint)[0], key) for item in value)
        except UsageError:
            raise wrong from None
    if hint is types.NoneType:
        if value is None or value == "none":
            return None
        raise wrong
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise wrong
    if hint is float and math.isnan(value):
        raise wrong
    return value


def spell(hint: Any) -> str:
    """A type in words.

    >>> spell(float | None)
    'a number or none'
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list of {spell(typing.get_args(hint)[0])}"
    return _NAMES.get(hint, str(hint))


def toml_line(key: str, value: Any) -> str:
    """One assignment in TOML.

    >>> toml_line("rank", None)
    'rank = "none"'
    """
    return f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
