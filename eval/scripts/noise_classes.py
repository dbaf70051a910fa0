"""Pictures of and listening examples for the classes of simulated noise.

    python eval/scripts/noise_classes.py picture docs/simulation/classes.png
    python eval/scripts/noise_classes.py listen FOLDER [--per-class 3] [--seconds 8]

``picture`` draws one spectrogram of 4 s for each class; ``listen`` writes WAV files (16 kHz, 16 bit),
CLASS-N.wav. Both are functions of --seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw
from scipy.signal import stft

from vae_se.noisy_encoder.simulation.classes import MODEL, WEIGHTS
from vae_se.noisy_encoder.simulation.pool import draw_item
from vae_se.priors import load_prior

RATE, COLUMNS, RANGE_DB = 16000, 6, 60.0


def spectrogram(waveform: np.ndarray, width: int, height: int) -> Image.Image:
    """Level in dB below the maximum, low frequencies at the bottom; black is RANGE_DB below."""
    power = np.abs(stft(waveform, RATE, nperseg=512, noverlap=384)[2]) ** 2
    level = 10 * np.log10(power + 1e-12)
    shade = np.clip(1 + (level - level.max()) / RANGE_DB, 0, 1) * 255
    return Image.fromarray(shade[::-1].astype(np.uint8)).resize((width, height), Image.Resampling.BOX)


def picture(file: Path, seed: int, examples: int = 2) -> None:
    """One cell a class, ``examples`` draws beside each other in it."""
    prior, names = load_prior("default", "cpu"), sorted(WEIGHTS)
    width, height, title = 104, 84, 12
    rows = -(-len(names) // COLUMNS)
    cell = examples * width + 8
    sheet = Image.new("L", (COLUMNS * cell, rows * (height + title + 6)), 255)
    pen = ImageDraw.Draw(sheet)
    for number, name in enumerate(names):
        x, y = number % COLUMNS * cell, number // COLUMNS * (height + title + 6)
        pen.text((x + 1, y), "drawn from the noise model" if name == MODEL else name, fill=0)
        for example in range(examples):
            waveform = draw_item(seed, example, name, 4 * RATE, RATE, prior)
            sheet.paste(spectrogram(waveform, width - 2, height), (x + example * width, y + title))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(12).save(file, optimize=True)


def listen(folder: Path, seed: int, per_class: int, seconds: float) -> None:
    """WAV files at a peak of -3 dBFS."""
    prior = load_prior("default", "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(WEIGHTS):
        for number in range(per_class):
            waveform = draw_item(seed, number, name, round(seconds * RATE), RATE, prior)
            soundfile.write(folder / f"{name}-{number}.wav", 0.7 * waveform / np.abs(waveform).max(), RATE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("picture", "listen"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-class", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    if given.what == "picture":
        picture(given.out, given.seed)
    else:
        listen(given.out, given.seed, given.per_class, given.seconds)
