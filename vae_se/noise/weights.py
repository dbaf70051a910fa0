"""Weights of what a model of the noise may be held to."""

from __future__ import annotations

import dataclasses

from ..errors import UsageError


@dataclasses.dataclass(frozen=True)
class Weights:
    """Fields are weights, 0 or more; false where none is above 0. Raises UsageError for a weight below 0."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise UsageError(f"noise.{name} = {value}", "it is 0 (none) or more")

    def __bool__(self) -> bool:
        return any(vars(self).values())
