"""Figures of a recording that need no clean reference: their units, and which direction is better."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """``unit``, and ``better``: higher, lower, or "" where neither is."""

    unit: str
    better: str


#: ``level_db``: change of the active level (ITU-T P.56), near 0 where the speech is kept. ``pauses_db``: level
#: of the quietest tenth of the frames below the active level.
FIGURES = {"level_db": Figure("dB", ""), "pauses_db": Figure("dB", "lower")}
