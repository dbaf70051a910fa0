"""Training noise of a noisy encoder: simulated, recorded, or no noisy encoder at all.

    python eval/scripts/noisy_encoder.py ../shared/data FOLDER > eval/results/noisy-encoder.md

Trains two networks in FOLDER, unless they exist: one on simulated noise, one on recordings of the noises in
SEEN, both with a quarter of the shipped network's training (a quarter of an hour each, on one core). Compares
them and the shipped one on mixtures with the other noises of DATA/noise, which none of them was trained on.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.baselines import BASELINES
from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.metrics import score
from vae_se.training.noisy_encoder import NoisyEncoderJob, NoisyEncoderOptions, train_noisy_encoder

METRICS = ("si_sdr", "pesq_wb", "estoi")
SEEN = ("aircon", "boat", "car-engine", "fire-crackling", "fireplace", "fridge", "rain", "sea-waves",
        "summer-night", "waves")  # fmt: skip
RECIPE = MixingRecipe(count=30, seed=11, min_utterance=2.5, max_seconds=5.0, exclude=SEEN)


# The network of release 0.1.0 and, as far as the options allow, its loss.
OPTIONS = NoisyEncoderOptions(
    architecture="recurrent", width=256, optimiser="adamw", learning_rate=1e-3, steps=1600, filter_weight=0.0,
    sdr_weight=0.0, average=0.0,
)  # fmt: skip


def train(data: Path, out: Path) -> None:
    """Train the networks that do not exist yet."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in SEEN:
            shutil.copytree(data / "noise" / name, Path(folder) / name)
        for name, noise in (("simulated", None), ("recorded", Path(folder))):
            if not (out / name / "weights.safetensors").is_file():
                job = NoisyEncoderJob(
                    data=data / "speech/train", prior="default", out=out / name, options=OPTIONS,
                    valid=data / "speech/valid", noise=noise,
                )  # fmt: skip
                train_noisy_encoder(job, lambda line: print(line, file=sys.stderr, flush=True))


def main(data: Path, folder: Path) -> None:
    """Print a table in Markdown."""
    train(data, folder)
    starts: dict[str, str | None] = {
        "no network": None, "shipped (simulated)": "auto", "simulated": str(folder / "simulated"),
        "recorded": str(folder / "recorded"),
    }  # fmt: skip
    methods = {
        f"{name}, {'EM' if iterations else 'no EM iteration'}": Enhancer.from_pretrained(
            device="cpu", inference__noisy_encoder=start, inference__iterations=iterations
        )
        for name, start in starts.items()
        for iterations in (0, 40)
        if start or iterations
    }
    found: dict[str, list[list[float]]] = {}
    for mixture in mixtures(RECIPE, data / "speech/valid", data / "noise"):
        results = {"noisy": mixture.noisy, "rnnoise": BASELINES["rnnoise"].enhance(mixture.noisy, mixture.rate)}
        results |= {k: e.enhance(mixture.noisy, mixture.rate, name=mixture.id) for k, e in methods.items()}
        for label, speech in results.items():
            values = score(METRICS, mixture.clean, speech, mixture.rate)
            found.setdefault(label, []).append([values[name].value for name in METRICS])
        print(f"{mixture.id} done", file=sys.stderr, flush=True)
    print("# Noisy encoder: noise to train it on\n")
    print(
        f"`python eval/scripts/noisy_encoder.py ../shared/data FOLDER`: {len(found['noisy'])} mixtures at -5 "
        "to 15 dB of validation speakers with ten kinds of noise that no network was trained on; the one for "
        f"recorded noise was trained on {', '.join(SEEN)}.\n"
    )
    print("| noise in training, method | SI-SDR | PESQ-wb | ESTOI |\n|---|---:|---:|---:|")
    for label, rows in found.items():
        si_sdr, pesq, estoi = np.nanmean(np.array(rows), axis=0)
        print(f"| {label} | {si_sdr:.2f} | {pesq:.2f} | {estoi:.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
