"""Quality of streams relative to the whole recording by look-ahead, and their speed.

    python eval/scripts/stream.py ../shared/data [--count 20] [--jobs 1] > eval/results/stream.md

The data folder contains speech/valid and noise/KIND/. Enhances mixtures of validation speakers at -5 to 15 dB
as a whole and as a stream that starts with the mixture, so that level, noise and latents are estimated on the
fly. Prints the change of each score relative to `default` on the whole recording, with its standard error,
and the processor time (one thread) per second of audio. Prints a row per mixture and method to stderr as it
proceeds.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.data.mixing import MixingRecipe, Mixture, mixtures
from vae_se.enhancement.online import OnlineEnhancer
from vae_se.metrics import score

METRICS = ("si_sdr", "pesq_wb", "estoi")
#: Block, look-ahead and context, in seconds.
STREAMS = ((0.25, 0.5, 1.75), (0.25, 0.25, 1.75), (0.25, 0.0, 1.75), (0.064, 0.0, 1.75))
PART = 400  # samples per push
Result = dict[str, tuple[list[float], float]]  # by method: scores and processor seconds


def streamed(block: float, lookahead: float, context: float) -> tuple[str, Callable]:
    """Name and latency of a stream, and its function."""
    sizes = {"block": block, "lookahead": lookahead, "context": context}
    probe = OnlineEnhancer.from_pretrained(16000, **sizes)

    def enhance(noisy: np.ndarray, rate: int) -> np.ndarray:
        online = OnlineEnhancer(probe.enhancer, rate, **sizes)
        parts = [online.push(noisy[i : i + PART]) for i in range(0, noisy.size, PART)]
        return np.concatenate([*parts, online.flush()[0]])

    name = f"stream, block {1000 * block:.0f} ms, {1000 * lookahead:.0f} ms ahead"
    return f"{name} | {1000 * probe.latency:.0f}", enhance


@functools.cache
def methods() -> dict[str, Callable]:
    """Functions (noisy (T,), rate) -> speech (T,) by name; the first is the reference of the comparison."""
    torch.set_num_threads(1)
    whole = {
        f"{preset}, whole recording | ": Enhancer.from_pretrained(preset=preset, device="cpu").enhance
        for preset in ("default", "fast")
    }
    return whole | dict(streamed(*settings) for settings in STREAMS)


def one(mixture: Mixture) -> Result:
    """Scores and processor times of all methods on one mixture."""
    noisy, found = mixture.noisy.astype(np.float32), {}
    for name, enhance in methods().items():
        start = time.process_time()
        speech = enhance(noisy, mixture.rate)
        spent = time.process_time() - start
        values = score(METRICS, mixture.clean, speech, mixture.rate)
        found[name] = ([values[metric].value for metric in METRICS], spent)
        row = ", ".join(f"{value:.3f}" for value in found[name][0])
        print(f"{mixture.id}: {name}: {row}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    recipe = MixingRecipe(count=options.count, seed=77, min_utterance=1.0, join_to=5.0, max_seconds=6.0)
    drawn = list(mixtures(recipe, options.data / "speech/valid", options.data / "noise"))
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(one, drawn))
    heard = sum(mixture.noisy.size / mixture.rate for mixture in drawn)
    print("# Streams against whole recordings\n")
    print(f"    python eval/scripts/stream.py ../shared/data --count {options.count} --jobs {options.jobs}\n")
    print(
        f"{options.count} mixtures, {heard:.0f} s, seed {recipe.seed}; torch {torch.__version__}, one thread,"
    )
    print(f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores (which increases processor time).\n")
    print("| method | latency, ms | SI-SDR | PESQ-wb | ESTOI | change against default | s per s |")
    print("|---|---|---|---|---|---|---|")
    names = list(results[0])
    base = np.array([result[names[0]][0] for result in results])
    for name in names:
        values = np.array([result[name][0] for result in results])
        change = values - base
        error = change.std(0, ddof=1) / np.sqrt(len(change))
        digits = (2, 3, 3)
        mean = " | ".join(f"{value:.{d}f}" for value, d in zip(values.mean(0), digits, strict=True))
        changes = zip(change.mean(0), error, digits, strict=True)
        changed = " / ".join(f"{c:+.{d}f} ({e:.{d}f})" for c, e, d in changes)
        spent = sum(result[name][1] for result in results) / heard
        print(f"| {name} | {mean} | {changed} | {spent:.2f} |")


if __name__ == "__main__":
    main()
