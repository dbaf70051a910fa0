"""Value of learning the noise from several recordings: `vae-se enhance --noise-group folder`.

    python eval/scripts/noise_group.py DATA [KIND ...]

DATA contains speech/valid and noise/KIND/. Makes six mixtures of three seconds per kind of noise, at 0 or -5
dB, with different speech and with noise from different parts of one recording. Prints SI-SDR in dB, PESQ-wb
and ESTOI: unprocessed, with the defaults file by file, and with one dictionary for all six. Takes three
minutes on one core.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from noise_dictionary import read

from vae_se import Enhancer
from vae_se.audio import paths
from vae_se.audio.level import active_rms
from vae_se.enhancement.shared_noise import share_noise, sharing
from vae_se.metrics import score
from vae_se.noise.store import save_dictionary

KINDS = ("aircon", "dishwasher", "fridge", "running-tap", "street", "boat", "birds", "8talker")
METRICS = ("si_sdr", "pesq_wb", "estoi")
RECORDINGS, SECONDS = 6, 3


def mixtures(data: Path, kind: str, number: int, rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clean and noisy samples of each recording of a group."""
    length = SECONDS * rate
    voices = paths.collect([str(data / "speech" / "valid")])
    noise = read(paths.collect([str(data / "noise" / kind)])[0].path, rate)
    snr = -5 * (number % 2)
    found = []
    for i in range(RECORDINGS):
        clean = read(voices[(number * 37 + i * 11) % len(voices)].path, rate)[:length]
        clean = np.pad(clean, (0, length - clean.size))
        start = i * max(0, noise.size - length) // (RECORDINGS - 1)
        part = noise[start : start + length]
        gain = active_rms(clean, rate) / np.sqrt(np.mean(part**2)) * 10 ** (-snr / 20)
        found.append((clean, clean + gain * part))
    return found


def main(data: Path, kinds: list[str]) -> None:
    """Print a table in Markdown."""
    plain = Enhancer.from_pretrained(device="cpu")
    rate = plain.prior.signal.rate
    print("| noise, SNR | noisy | each by itself | together |\n|---|---|---|---|")
    rows = []
    for number, kind in enumerate(KINDS):
        if kinds and kind not in kinds:
            continue
        pairs = mixtures(data, kind, number, rate)
        dictionary = share_noise(plain, [(noisy, rate) for _, noisy in pairs])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "noise.safetensors"
            save_dictionary(dictionary, path)
            together = sharing(plain, path)
        values = []
        for clean, noisy in pairs:
            results = (noisy, plain.enhance(noisy, rate), together.enhance(noisy, rate))
            scores = [score(METRICS, clean, speech, rate) for speech in results]
            values.append([[one[name].value for name in METRICS] for one in scores])
        rows.append(np.nanmean(values, axis=0))
        print(f"| {kind}, {-5 * (number % 2)} dB | {cells(rows[-1])} |", flush=True)
    print(f"| mean | {cells(np.mean(rows, axis=0))} |")


def cells(scores: np.ndarray) -> str:
    """Scores (methods, metrics) as cells of a table."""
    return " | ".join(f"{a:.2f} / {b:.2f} / {c:.3f}" for a, b, c in scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
