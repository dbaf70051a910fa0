"""Formats of samples without a header. Imports no library, so that the command line is quick."""

from __future__ import annotations

import dataclasses

#: Names of formats, as in other tools, to libsndfile's subtypes; little-endian.
RAW = {"s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}


@dataclasses.dataclass(frozen=True)
class RawFormat:
    """Format of samples without a header: libsndfile's ``subtype``, ``rate`` in Hz, number of ``channels``."""

    subtype: str
    rate: int
    channels: int = 1
