"""The factor on the speech variance below 50 Hz (vae_se/inference/noisy_proposal.py), by which it was chosen.

    python eval/scripts/rumble.py ../data-more [--factors 1 0.3 0.1 0.001]

DATA is the output of get_data.py. Prints the SI-SDR of `default` for 12 sentences of three speakers of VCTK in
synthetic rumble (1 / f^4 above 8 Hz, 0.7 times the energy of the speech) and white noise at 25 dB, and for 4 of
their sentences and 8 of LibriSpeech in white noise at 20 dB, whose own rumble the factor removes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.data.files import read_at
from vae_se.inference import noisy_proposal
from vae_se.inference.noisy_proposal import VOICE_FROM_HZ
from vae_se.metrics import score

RATE, SECONDS = 16000, 6


def sentence(path: Path) -> np.ndarray:
    """At most six seconds at 16 kHz."""
    return np.asarray(read_at(path, RATE)[: SECONDS * RATE], np.float64)


def white(clean: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """White noise at an SNR."""
    return random.standard_normal(clean.size) * np.sqrt(np.mean(clean**2)) * 10 ** (-snr_db / 20)


def rumble(clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise below the voice, with 0.7 times the energy of the speech, and white noise at 25 dB."""
    frequency = np.fft.rfftfreq(clean.size, 1 / RATE)
    low = np.fft.irfft(np.fft.rfft(random.standard_normal(clean.size)) / (1 + (frequency / 8) ** 2), clean.size)
    return low * np.sqrt(0.7 * np.sum(clean**2) / np.sum(low**2)) + white(clean, 25, random)


def faint(clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """White noise at 20 dB."""
    return white(clean, 20, random)


def mean_si_sdr(
    enhancer: Enhancer, files: Sequence[Path], noise: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> float:
    """Mean SI-SDR, dB, of ``files`` with ``noise``."""
    random, found = np.random.default_rng(0), []
    for path in files:
        clean = sentence(path)
        enhanced = enhancer.enhance((clean + noise(clean, random)).astype(np.float32), RATE)
        found.append(score(["si_sdr"], clean, enhanced, RATE)["si_sdr"].value)
    return float(np.mean(found))


def main() -> None:
    """One line for each factor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.001])
    given = parser.parse_args()
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(device="cpu")
    speakers = [sorted((given.data / "fullband/valid" / name).iterdir()) for name in ("p225", "p226", "p227")]
    libri = sorted((given.data / "valid/librispeech").rglob("*.flac"))
    libri = libri[:: len(libri) // 8][:8]
    files = [path for names in speakers for path in names]
    for factor in (None, *given.factors):
        noisy_proposal.VOICE_FROM_HZ = 0.0 if factor is None else VOICE_FROM_HZ
        noisy_proposal.RUMBLE = factor or 1.0
        low, vctk = mean_si_sdr(enhancer, files, rumble), mean_si_sdr(enhancer, files[::3], faint)
        native = mean_si_sdr(enhancer, libri, faint)
        name = "the network's deviation" if factor is None else f"factor {factor:g}"
        print(f"{name}: rumble {low:.2f}, VCTK {vctk:.2f}, LibriSpeech {native:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
