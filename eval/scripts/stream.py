"""What a stream loses against the whole recording, by look-ahead, and whether it keeps up.

    python eval/scripts/stream.py ../shared/data [--count 20] > eval/results/stream.md

DATA holds speech/valid and noise/KIND/. Mixtures of validation speakers at -5 to 15 dB, each enhanced as a
whole and as a stream that starts with it: level, noise and latents have to be found while it is going on.
Change of each score against `default` on the whole recording, with its standard error; processor time (one
thread) per second of sound. One row is printed to stderr for every mixture and method as it is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.data.mixing import Recipe, mixtures
from vae_se.metrics import score
from vae_se.streaming import OnlineEnhancer

METRICS = ("si_sdr", "pesq_wb", "estoi")
#: Block, look-ahead, context, in seconds; and whether the level is told.
STREAMS = (
    (0.25, 0.5, 1.75, False),
    (0.25, 0.25, 1.75, False),
    (0.25, 0.25, 1.75, True),
    (0.25, 0.0, 1.75, False),
    (0.064, 0.0, 1.75, False),
)
PART = 400  # samples that come at a time


def streamed(block: float, lookahead: float, context: float, told: bool) -> tuple[str, Callable]:
    """The name and the function of a stream."""
    sizes = {"block": block, "lookahead": lookahead, "context": context}
    probe = OnlineEnhancer.from_pretrained(16000, **sizes)
    enhancer = probe.enhancer

    def enhance(noisy: np.ndarray, rate: int) -> np.ndarray:
        from vae_se.audio.level import active_rms

        online = OnlineEnhancer(enhancer, rate, level=active_rms(noisy, rate) if told else None, **sizes)
        parts = [online.push(noisy[i : i + PART]) for i in range(0, noisy.size, PART)]
        return np.concatenate([*parts, online.flush()[0]])

    name = f"stream, block {1000 * block:.0f} ms, {1000 * lookahead:.0f} ms ahead"
    return f"{name}{', level told' if told else ''} | {1000 * probe.latency:.0f}", enhance


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods: dict[str, Callable] = {
        f"{preset}, whole recording | ": Enhancer.from_pretrained(preset=preset, device="cpu").enhance
        for preset in ("default", "fast")
    }
    methods |= dict(streamed(*settings) for settings in STREAMS)
    recipe = Recipe(count=options.count, seed=77, min_utterance=1.0, join_to=5.0, max_seconds=6.0)
    scores: dict[str, list[list[float]]] = {name: [] for name in methods}
    spent, heard = dict.fromkeys(methods, 0.0), 0.0
    for mixture in mixtures(recipe, options.data / "speech/valid", options.data / "noise"):
        noisy = mixture.noisy.astype(np.float32)
        heard += noisy.size / mixture.rate
        for name, enhance in methods.items():
            start = time.process_time()
            speech = enhance(noisy, mixture.rate)
            spent[name] += time.process_time() - start
            values = score(METRICS, mixture.clean, speech, mixture.rate)
            scores[name].append([values[metric].value for metric in METRICS])
            row = ", ".join(f"{value:.3f}" for value in scores[name][-1])
            print(f"{mixture.id}: {name}: {row}", file=sys.stderr, flush=True)
    print("# Streams against whole recordings\n")
    print(f"    python eval/scripts/stream.py ../shared/data --count {options.count}\n")
    print(
        f"{options.count} mixtures, {heard:.0f} s, seed {recipe.seed}; one thread, torch {torch.__version__}.\n"
    )
    print("| method | latency, ms | SI-SDR | PESQ-wb | ESTOI | change against default | s per s |")
    print("|---|---|---|---|---|---|---|")
    base = np.array(next(iter(scores.values())))
    for name, rows in scores.items():
        values = np.array(rows)
        mean, change = values.mean(0), values - base
        error = change.std(0, ddof=1) / np.sqrt(len(change))
        changes = " / ".join(
            f"{c:+.{d}f} ({e:.{d}f})" for c, e, d in zip(change.mean(0), error, (2, 3, 3), strict=True)
        )
        first = " | ".join(f"{value:.{d}f}" for value, d in zip(mean, (2, 3, 3), strict=True))
        print(f"| {name} | {first} | {changes} | {spent[name] / heard:.2f} |")


if __name__ == "__main__":
    main()
