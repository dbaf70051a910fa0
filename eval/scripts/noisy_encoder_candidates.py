"""Compare noisy encoders within the enhancer: preset default, nothing else changed.

    python eval/scripts/noisy_encoder_candidates.py SHARED NATIVE NAME=FOLDER ... [--count 10] [--iterations 0
    40] [--json FILE]

SHARED is ../shared/data, NATIVE a folder of native speakers that nothing is trained on. Half of the mixtures
are of the accented validation speakers in any noise, half of native speakers in noise that moves. `auto` as
FOLDER is the shipped network. With --json every score is kept, and what is there already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.data.mixing import Recipe, mixtures
from vae_se.metrics import score

METRICS = ("si_sdr", "pesq_wb", "estoi")
STEADY = ("aircon", "boat", "fridge", "rain", "sea-waves", "vacuuming", "waves", "car-engine")


def sets(shared: Path, native: Path, count: int) -> dict[str, list]:
    common = {"count": count, "min_utterance": 1.0, "join_to": 4.0, "max_seconds": 6.0}
    recipes = {
        "accented": (Recipe(seed=21, **common), shared / "speech/valid"),
        "native": (Recipe(seed=22, exclude=STEADY, **common), native),
    }
    return {
        name: list(mixtures(recipe, speech, shared / "noise")) for name, (recipe, speech) in recipes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("native", type=Path)
    parser.add_argument("candidates", nargs="+")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--iterations", type=int, nargs="+", default=[0, 40])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    drawn = sets(given.shared, given.native, given.count)
    methods = {"noisy": None}
    for text in given.candidates:
        name, _, folder = text.partition("=")
        for iterations in given.iterations:
            label = f"{name}, {iterations} iterations"
            if any(f"{label}|{m.id}" not in kept for group in drawn.values() for m in group):
                methods[label] = Enhancer.from_pretrained(
                    device="cpu", inference__noisy_encoder=folder, inference__iterations=iterations
                )
            else:
                methods[label] = None
    for group in drawn.values():
        for m in group:
            for label, enhancer in methods.items():
                key = f"{label}|{m.id}"
                if key not in kept:
                    speech = m.noisy if label == "noisy" else enhancer.enhance(m.noisy, m.rate, name=m.id)
                    values = score(METRICS, m.clean, speech, m.rate)
                    kept[key] = [values[metric].value for metric in METRICS]
            if given.json:
                given.json.write_text(json.dumps(kept))
            print(f"{m.id} {m.noise_type} {m.snr_db} done", file=sys.stderr, flush=True)
    print("| set | method | SI-SDR | PESQ-wb | ESTOI |\n|---|---|---:|---:|---:|")
    for name, group in drawn.items():
        for label in methods:
            rows = np.array([kept[f"{label}|{m.id}"] for m in group], float)
            si_sdr, pesq, estoi = np.nanmean(rows, axis=0)
            print(f"| {name} ({len(group)}) | {label} | {si_sdr:.2f} | {pesq:.2f} | {estoi:.3f} |")


if __name__ == "__main__":
    main()
