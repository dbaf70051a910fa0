"""Samples without a header: what one has to say about them. No library is imported here."""

from __future__ import annotations

import dataclasses

#: By the names that other tools have for them: libsndfile's subtypes, little-endian.
RAW = {"s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}


@dataclasses.dataclass(frozen=True)
class RawFormat:
    """How to read samples without a header: libsndfile's ``subtype``, ``rate`` in Hz, ``channels``."""

    subtype: str
    rate: int
    channels: int = 1
