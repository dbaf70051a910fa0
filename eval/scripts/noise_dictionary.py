"""Value of a noise dictionary: learnt from the first half of a noise recording, used on its second half.

    python eval/scripts/noise_dictionary.py ../shared/data

The data folder contains speech/valid and noise/KIND/. Prints the SI-SDR in dB of one mixture of three seconds
per kind of noise: unprocessed, with `nmf` (rank 8), and with dictionaries of K fixed atoms and some free
ones. Takes a minute on one core.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.audio import files, paths
from vae_se.audio.level import active_rms
from vae_se.audio.resample import resample
from vae_se.noise.dictionary import fit
from vae_se.noise.store import NoiseDictionary, save_dictionary
from vae_se.numerics import POWER_FLOOR

KINDS = ("aircon", "dishwasher", "car-engine", "fridge", "8talker", "birds", "boat")
ATOMS = ((4, 0), (16, 0), (16, 2))  # numbers of fixed and free atoms
SECONDS, LONGEST = 3, 60
FRAMES, ITERATIONS = 1500, 60


def read(path: Path, rate: int) -> np.ndarray:
    """A file as mono (T,) at ``rate``."""
    recording = files.read(path)
    return resample(recording.samples.mean(0), recording.rate, rate)


def si_sdr(clean: np.ndarray, estimate: np.ndarray) -> float:
    """Le Roux et al., SDR - half-baked or well done?, 2019, in dB."""
    target = (estimate @ clean) / (clean @ clean) * clean
    return float(10 * np.log10((target @ target) / np.sum((target - estimate) ** 2)))


def main(data: Path) -> None:
    """Print a table in Markdown."""
    plain = Enhancer.from_pretrained(device="cpu")
    signal = plain.prior.signal
    rate, length = signal.rate, SECONDS * signal.rate
    speech = paths.collect([str(data / "speech" / "valid")])
    labels = ["noisy", "nmf"] + [f"{fixed} fixed, {free} free" for fixed, free in ATOMS]
    print("| noise, SNR | " + " | ".join(labels) + " |")
    print("|---" * (len(labels) + 1) + "|")
    rows = []
    for number, kind in enumerate(KINDS):
        noise = read(paths.collect([str(data / "noise" / kind)])[0].path, rate)[: LONGEST * rate]
        half, snr = noise.size // 2, 5 * (number % 2)
        clean = read(speech[(number * 37) % len(speech)].path, rate)[:length]
        clean = np.pad(clean, (0, length - clean.size))
        part = noise[half : half + length]
        noisy = clean + part * np.sqrt(np.mean(clean**2) / np.mean(part**2)) * 10 ** (-snr / 20)
        train = torch.from_numpy((noise[:half] / active_rms(noise[:half], rate)).astype(np.float32))
        power = signal.stft.analyse(train).abs().square() + POWER_FLOOR
        power = power[:: max(1, len(power) // FRAMES)]
        row = [si_sdr(clean, noisy), si_sdr(clean, plain.enhance(noisy, rate))]
        for fixed, free in ATOMS:
            atoms, _ = fit(power, fixed, ITERATIONS)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "noise.safetensors"
                save_dictionary(NoiseDictionary(atoms, rate, signal.window, signal.hop), path)
                settings = {"noise.name": "dictionary", "noise.file": str(path), "noise.free": free}
                enhancer = Enhancer(plain.config.override(settings), plain.prior, plain.device)
            row.append(si_sdr(clean, enhancer.enhance(noisy, rate)))
        rows.append(row)
        print(f"| {kind}, {snr} dB | " + " | ".join(f"{value:.2f}" for value in row) + " |", flush=True)
    print("| mean | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
