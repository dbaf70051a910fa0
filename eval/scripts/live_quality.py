"""What a live stream loses against the whole recording: quality by latency and noisy encoder.

    python eval/scripts/live_quality.py ../shared/data [--count 24] [--out eval/results/live-quality.md]

Validation mixtures of SHARED at -5 to 15 dB, 4 to 6 s each, into streams that begin with them. The reference is
the preset `fast` on the whole recording, with the two-way noisy encoder and with the causal one. Streams with a
two-way network read the last frames again for every block, those with a causal one read each frame once.
Processor time is that of one thread, start-up apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.config import Config
from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.enhancement.live import LiveEnhancer
from vae_se.metrics import score
from vae_se.storage.atomic import write_atomically

METRICS = ("si_sdr", "pesq_wb", "estoi")
#: Name, latency in seconds, noisy encoder (inference.noisy_encoder).
STREAMS = (
    ("64 ms, causal", 0.064, "causal"),
    ("96 ms, causal", 0.096, "causal"),
    ("304 ms, causal", 0.304, "causal"),
    ("304 ms, two-way", 0.304, "auto"),
    ("1 s, two-way", 1.0, "auto"),
)

Method = Callable[[np.ndarray, int], tuple[np.ndarray, float]]


def streamed(latency: float, encoder: str) -> Method:
    """A method that gives the output of a new stream, and its processor time in seconds."""

    def run(noisy: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
        config = Config().override(LiveEnhancer.settings).override({"inference.noisy_encoder": encoder})
        stream = LiveEnhancer.from_pretrained(rate, latency=latency, config=config)
        started = time.process_time()
        size = round(stream.block * rate)
        parts = [stream.push(noisy[start : start + size]) for start in range(0, noisy.size, size)]
        parts.append(stream.flush().reshape(-1))
        return np.concatenate(parts), time.process_time() - started

    return run


def whole(encoder: str) -> Method:
    """The preset `fast` on the whole recording, and its processor time."""

    def run(noisy: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
        enhancer = Enhancer.from_pretrained(
            preset="fast", device="cpu", threads=1, inference__noisy_encoder=encoder
        )
        started = time.process_time()
        return np.asarray(enhancer.enhance(noisy, rate)), time.process_time() - started

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = MixingRecipe(count=given.count, seed=21, min_utterance=1.0, join_to=4.0, max_seconds=6.0)
    drawn = list(mixtures(recipe, given.shared / "speech/valid", given.shared / "noise"))
    methods: dict[str, Method] = {
        "fast, whole recording": whole("auto"),
        "fast, whole recording, causal": whole("causal"),
    }
    methods |= {name: streamed(latency, encoder) for name, latency, encoder in STREAMS}
    lines = ["| | SI-SDR, dB | PESQ-wb | ESTOI | processor, s per s |", "|---|---|---|---|---|"]
    for name, method in methods.items():
        rows = []
        for mixture in drawn:
            estimate, seconds = method(mixture.noisy.astype(np.float32), mixture.rate)
            scores = score(METRICS, mixture.clean, estimate, mixture.rate)
            rows.append([*(scores[m].value for m in METRICS), seconds / (mixture.noisy.size / mixture.rate)])
        dB, pesq, estoi, load = np.mean(rows, 0)
        lines.append(f"| {name} | {dB:.2f} | {pesq:.2f} | {estoi:.3f} | {load:.2f} |")
        print(lines[-1], flush=True)
    if given.out:
        command = f"    python eval/scripts/live_quality.py ../shared/data --count {given.count}"
        title = "# What a live stream loses against the whole recording"
        text = f"{len(drawn)} validation mixtures; the script's docstring says what is compared."
        write_atomically(given.out, "\n".join([title, "", command, "", text, "", *lines, ""]).encode())


if __name__ == "__main__":
    main()
