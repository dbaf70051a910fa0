"""Tables of a TOML file as dataclasses, with helpful errors for unknown keys and wrong types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import UsageError, nearest

T = TypeVar("T")


def from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """``cls(**table)`` with checks; ``where`` names the table in errors, for example ``[data]``.

    Lists become tuples, and whole numbers become floats, where the type of the field is tuple or float. Raises
    UsageError for an unknown key (with the nearest known one), a missing key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise UsageError(f"unknown key {key!r} in {where}", nearest(key, fields))
        values[key] = _checked(value, hints[key], f"{key} in {where}")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UsageError(f"{where} lacks {name!r}", f"add it; keys: {', '.join(fields)}")
    return cls(**values)


def _checked(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [h for h in typing.get_args(hint) if h is not types.NoneType]
        return _checked(value, options[0], where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where} is {value!r}; expected a list")
        inner = typing.get_args(hint)
        if Ellipsis not in inner and len(inner) != len(value):
            raise UsageError(f"{where} has {len(value)} items; expected {len(inner)}")
        return tuple(_checked(item, inner[0], where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where} is {value!r}; expected {hint.__name__}")
    return value
