"""Two folders, clean and noisy, whose files are paired by their relative stem."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..files import list_audio
from .base import PairEntry, TestSet, adapter, need, pair_stems


@dataclass(frozen=True)
class PairsOptions:
    """``root`` contains the folders ``clean`` and ``noisy``, and ``noise`` where the noise is known."""

    root: str
    clean: str = "clean"
    noisy: str = "noisy"
    noise: str = ""
    rate: int = 0


@adapter("pairs", PairsOptions, source="your own recordings", licence="yours")
def build(options: PairsOptions, data_root: Path) -> TestSet:
    """Pairs by relative stem; the notes list files without a counterpart."""
    root = data_root / options.root
    clean, noisy = (need("pairs", root / name) for name in (options.clean, options.noisy))
    noise = need("pairs", root / options.noise) if options.noise else None
    noises = {str(Path(p).with_suffix("")): p for p in list_audio(noise)} if noise else {}
    pairs, unpaired = pair_stems(list_audio(clean), list_audio(noisy))
    if not pairs:
        raise UsageError(f"no file of {noisy} has a counterpart of the same name in {clean}")
    entries = tuple(
        PairEntry(
            id=stem,
            clean=clean / a,
            noisy=noisy / b,
            rate=options.rate,
            noise=noise / noises[stem] if noise and stem in noises else None,
        )
        for stem, a, b in pairs
    )
    return TestSet("pairs", entries, tuple(unpaired))
