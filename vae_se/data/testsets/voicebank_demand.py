"""The test set of VoiceBank-DEMAND (Valentini-Botinhao et al. 2016): 824 files, 2 speakers, 2.5 to 17.5 dB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..files import list_audio
from .base import PairEntry, TestSet, adapter, need, pair_stems


@dataclass(frozen=True)
class VoiceBankOptions:
    """``root`` contains the folders as unpacked; the files of 48 kHz are resampled to ``rate`` Hz."""

    root: str = "voicebank-demand"
    clean: str = "clean_testset_wav"
    noisy: str = "noisy_testset_wav"
    rate: int = 16000


def read_log(path: Path) -> dict[str, tuple[str, float]]:
    """Stem to (noise, SNR in dB), from lines such as ``p232_001 bus 17.5``; other lines are ignored."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        if len(parts) != 3:
            continue
        try:
            found[Path(parts[0]).stem] = (parts[1], float(parts[2]))
        except ValueError:
            continue
    return found


@adapter(
    "voicebank-demand",
    VoiceBankOptions,
    source="https://datashare.ed.ac.uk/handle/10283/2791",
    licence="CC BY 4.0",
)
def build(options: VoiceBankOptions, data_root: Path) -> TestSet:
    """Pairs by stem; SNR and noise come from log_testset.txt in ``root`` or ``root``/logfiles."""
    root = data_root / options.root
    clean, noisy = (need("voicebank-demand", root / name) for name in (options.clean, options.noisy))
    logs = [p for p in (root / "log_testset.txt", root / "logfiles" / "log_testset.txt") if p.is_file()]
    log = read_log(logs[0]) if logs else {}
    pairs, notes = pair_stems(list_audio(clean), list_audio(noisy))
    if not logs:
        notes.append(f"no log_testset.txt under {root}: SNR and noise are unknown")
    entries = []
    for stem, a, b in pairs:
        noise_type, snr = log.get(Path(stem).stem, (None, None))
        entries.append(PairEntry(stem, clean / a, noisy / b, options.rate, snr, noise_type))
        if logs and snr is None:
            notes.append(f"not in the log: {stem}")
    return TestSet("voicebank-demand", tuple(entries), tuple(notes))
