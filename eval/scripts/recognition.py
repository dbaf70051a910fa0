"""What noise a recognition network should be trained on: simulated, recorded, or none (no network at all).

    python eval/scripts/recognition.py ../shared/data NETWORK > eval/results/recognition.md

NETWORK is a folder that does not exist yet: a network is trained there on recordings of the noises in SEEN (an
hour on one core). It is compared with the one that comes with the prior, which has heard no noise at all, on
mixtures with the other noises of DATA/noise, which neither has heard.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.baselines import BASELINES
from vae_se.data.mixing import Recipe, mixtures
from vae_se.metrics import score
from vae_se.training.amortise import AmortiseJob, AmortiseOptions, train_recogniser

METRICS = ("si_sdr", "pesq_wb", "estoi")
SEEN = ("aircon", "boat", "car-engine", "fire-crackling", "fireplace", "fridge", "rain", "sea-waves",
        "summer-night", "waves")  # fmt: skip
RECIPE = Recipe(count=30, seed=11, min_utterance=2.5, max_seconds=5.0, exclude=SEEN)


def train(data: Path, out: Path) -> None:
    """The network that hears recordings, with the steps of the shipped one."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in SEEN:
            (Path(folder) / name).symlink_to((data / "noise" / name).resolve())
        job = AmortiseJob(
            data / "speech/train", "default", out, AmortiseOptions(steps=3200), data / "speech/valid",
            noise=Path(folder),
        )  # fmt: skip
        train_recogniser(job, lambda line: print(line, file=sys.stderr, flush=True))


def main(data: Path, network: Path) -> None:
    """Print a table in Markdown."""
    if not (network / "weights.safetensors").is_file():
        train(data, network)
    starts: dict[str, str | None] = {"no network": None, "simulated": "auto", "recorded": str(network)}
    methods = {
        f"{name}, {'EM' if iterations else 'no EM iteration'}": Enhancer.from_pretrained(
            device="cpu", inference__recogniser=start, inference__iterations=iterations
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
    print("# recognition: noise to train the network on\n")
    print(
        f"`python eval/scripts/recognition.py ../shared/data NETWORK`: {len(found['noisy'])} mixtures at -5 to "
        "15 dB of validation speakers with ten kinds of noise that neither network has heard; the one for "
        f"recorded noise has heard {', '.join(SEEN)}.\n"
    )
    print("| noise in training, method | SI-SDR | PESQ-wb | ESTOI |\n|---|---:|---:|---:|")
    for label, rows in found.items():
        si_sdr, pesq, estoi = np.nanmean(np.array(rows), axis=0)
        print(f"| {label} | {si_sdr:.2f} | {pesq:.2f} | {estoi:.3f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
