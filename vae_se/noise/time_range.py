"""Parsing of time ranges such as 0:00-0:02.5."""

from __future__ import annotations

import re

from ..errors import UsageError

_TIME = r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)"
_RANGE = re.compile(f"{_TIME}-{_TIME}")


def parse_time_range(text: str) -> tuple[float, float]:
    """Start and end in seconds of ``[[h:]m:]s-[[h:]m:]s``. Raises UsageError for any other text.

    >>> parse_time_range("0:00-1:02.5")
    (0.0, 62.5)
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UsageError(f"{text!r} is no time range", "write start-end in [h:]m:s, such as 0:00-0:02.5")
    hours, minutes, seconds, *end = (float(part or 0) for part in found.groups())
    start, stop = 3600 * hours + 60 * minutes + seconds, 3600 * end[0] + 60 * end[1] + end[2]
    if stop <= start:
        raise UsageError(
            f"the noise segment {text} ends before it starts", "write start-end, such as 0:00-0:02.5"
        )
    return start, stop
