"""WSJ0-QUT (Leglaive et al. 2020): WSJ0 si_et_05 in noise of QUT-NOISE, listed in a JSON file.

The list maps an utterance to ``utt_name``, ``noisy_wav``, ``clean_wav``, ``noise_type`` and ``snr``; its
paths may hold the placeholders ``{noisy_root}`` and ``{clean_root}``. A list of such objects works, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from .base import PairEntry, TestSet, adapter, need


@dataclass(frozen=True)
class WSJ0QUTOptions:
    """``json``: the list; ``noisy_root`` and ``clean_root``: the placeholders. All relative to ``root``."""

    root: str = "wsj0-qut"
    json: str = "test.json"
    noisy_root: str = "noisy"
    clean_root: str = "clean"
    rate: int = 16000


@adapter(
    "wsj0-qut",
    WSJ0QUTOptions,
    source="https://catalog.ldc.upenn.edu/LDC93S6A (speech) and "
    "https://research.qut.edu.au/saivt/databases/qut-noise-databases-and-protocols/ (noise), to be mixed",
    licence="speech: LDC user agreement, paid; noise: CC BY-SA",
)
def build(options: WSJ0QUTOptions, data_root: Path) -> TestSet:
    """Entries in the order of the list."""
    root = data_root / options.root
    path = need("wsj0-qut", root / options.json, "list")
    roots = {"noisy_root": root / options.noisy_root, "clean_root": root / options.clean_root}
    try:
        listed: Any = json.loads(path.read_text(encoding="utf-8"))
        rows = list(listed.items()) if isinstance(listed, dict) else [(None, row) for row in listed]
        entries = tuple(
            PairEntry(
                id=str(key if key is not None else row.get("utt_name") or Path(row["noisy_wav"]).stem),
                clean=root / row["clean_wav"].format(**roots),
                noisy=root / row["noisy_wav"].format(**roots),
                rate=options.rate,
                snr_db=None if row.get("snr") is None else float(row["snr"]),
                noise_type=row.get("noise_type"),
            )
            for key, row in rows
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a list of WSJ0-QUT: {type(error).__name__} {error}",
            "every item needs noisy_wav and clean_wav, and should have utt_name, noise_type and snr",
        ) from error
    return TestSet("wsj0-qut", entries)
