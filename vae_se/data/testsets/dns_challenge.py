"""Synthetic test sets of the DNS Challenge (Reddy et al. 2020): pairs by the fileid in the file names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..files import list_audio
from .base import PairEntry, TestSet, adapter, need

_FILEID = re.compile(r"fileid_(\d+)$")
_SNR = re.compile(r"_snr(-?\d+(?:\.\d+)?)_")


@dataclass(frozen=True)
class DNSChallengeOptions:
    """``root`` contains the folders ``clean`` and ``noisy``, and optionally ``noise``."""

    root: str = "dns-challenge/test_set/synthetic/no_reverb"
    clean: str = "clean"
    noisy: str = "noisy"
    noise: str = "noise"
    rate: int = 16000


def by_fileid(folder: Path) -> tuple[dict[int, str], list[str]]:
    """Paths relative to ``folder`` by fileid, and the files without a fileid in their names.

    Raises UsageError where two files have the same fileid.
    """
    found: dict[int, str] = {}
    without = []
    for path in list_audio(folder):
        match = _FILEID.search(Path(path).stem)
        if match is None:
            without.append(path)
        elif int(match[1]) in found:
            raise UsageError(f"{folder}: {found[int(match[1])]} and {path} have the same fileid", "remove one")
        else:
            found[int(match[1])] = path
    return found, without


@adapter(
    "dns-challenge",
    DNSChallengeOptions,
    source="https://github.com/microsoft/DNS-Challenge (branch interspeech2020/master, datasets/test_set)",
    licence="code MIT; clips under the licences of LibriVox, AudioSet, Freesound and DEMAND",
)
def build(options: DNSChallengeOptions, data_root: Path) -> TestSet:
    """Pairs by fileid; the SNR comes from the name of the noisy file."""
    root = data_root / options.root
    clean, noisy = (need("dns-challenge", root / name) for name in (options.clean, options.noisy))
    a, a_without = by_fileid(clean)
    b, b_without = by_fileid(noisy)
    noise = root / options.noise
    c = by_fileid(noise)[0] if noise.is_dir() else {}
    notes = [f"no fileid: {p}" for p in a_without + b_without]
    notes += [f"clean without noisy: {a[i]}" for i in sorted(a.keys() - b.keys())]
    notes += [f"noisy without clean: {b[i]}" for i in sorted(b.keys() - a.keys())]
    entries = []
    for i in sorted(a.keys() & b.keys()):
        match = _SNR.search(Path(b[i]).stem)
        entries.append(
            PairEntry(
                id=f"fileid_{i}",
                clean=clean / a[i],
                noisy=noisy / b[i],
                rate=options.rate,
                snr_db=float(match[1]) if match else None,
                noise=noise / c[i] if i in c else None,
            )
        )
    if not entries:
        raise UsageError(f"no pair of files with the same fileid under {root}", "check the folders in [data]")
    return TestSet("dns-challenge", tuple(entries), tuple(notes))
