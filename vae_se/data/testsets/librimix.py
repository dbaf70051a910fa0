"""LibriMix with one speaker in noise (Cosentino et al. 2020), as listed in its metadata CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from .base import PairEntry, TestSet, adapter, need


@dataclass(frozen=True)
class LibriMixOptions:
    """``csv``: the list of mixtures; ``metrics_csv`` (optional): their SNRs; both relative to ``root``.

    The paths in the list belong to the machine on which it was made: ``prefix`` is removed from them, and the
    rest is relative to ``root``.
    """

    root: str = "librimix"
    csv: str = "Libri1Mix/wav16k/max/metadata/mixture_test_mix_single.csv"
    metrics_csv: str = "Libri1Mix/wav16k/max/metadata/metrics_test_mix_single.csv"
    prefix: str = ""
    rate: int = 16000


@adapter(
    "librimix",
    LibriMixOptions,
    source="https://github.com/JorisCos/LibriMix (scripts that make it)",
    licence="LibriSpeech CC BY 4.0; WHAM! noise CC BY-NC 4.0",
)
def build(options: LibriMixOptions, data_root: Path) -> TestSet:
    """Entries in the order of the list; source 1 is the reference."""
    root = data_root / options.root
    path = need("librimix", root / options.csv, "list")

    def place(text: str) -> Path:
        if options.prefix and text.startswith(options.prefix):
            text = text[len(options.prefix) :].lstrip("/")
        return root / text

    entries = []
    try:
        snrs: dict[str, float] = {}
        metrics = root / options.metrics_csv
        if options.metrics_csv and metrics.is_file():
            with metrics.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    snrs[row["mixture_ID"]] = float(row["source_1_SNR"])
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                noise = row.get("noise_path")
                if row.get("source_2_path"):
                    raise ValueError("two speakers in one mixture: that is separation, not enhancement")
                entries.append(
                    PairEntry(
                        id=row["mixture_ID"],
                        clean=place(row["source_1_path"]),
                        noisy=place(row["mixture_path"]),
                        rate=options.rate,
                        snr_db=snrs.get(row["mixture_ID"]),
                        noise=place(noise) if noise else None,
                    )
                )
    except (KeyError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path} is not a list of LibriMix mixtures: {type(error).__name__} {error}",
            "it needs mixture_ID, mixture_path and source_1_path, and one speaker per mixture",
        ) from error
    notes = () if snrs else (f"no {options.metrics_csv}: SNRs are unknown",)
    return TestSet("librimix", tuple(entries), notes)
