"""How long enhancement takes: python eval/scripts/speed.py [--seconds 30] [--threads 2]

Times the presets on the example repeated to the given length, in one process after a warm-up, so that
start-up is not in it, and prints how the cost grows with length, draws, iterations and rank. Every figure
is seconds of computing (wall) per second of audio, the median of ``--repeats`` runs.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from vae_se.enhancer import Enhancer

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "noisy.wav"


def recording(seconds: float) -> tuple[np.ndarray, int]:
    """The example, repeated and cut."""
    samples, rate = soundfile.read(EXAMPLE)
    wanted = round(seconds * rate)
    return np.tile(samples, -(-wanted // samples.size))[:wanted], rate


def factor(seconds: float, repeats: int, preset: str = "default", **overrides: object) -> float:
    """Median real-time factor of ``repeats`` runs."""
    enhancer = Enhancer.from_pretrained(preset=preset, device="cpu", **overrides)
    samples, rate = recording(seconds)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        enhancer.enhance(samples, rate)
        times.append((time.perf_counter() - started) / seconds)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    Enhancer.from_pretrained(device="cpu").enhance(*recording(1.0))
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads,")
    print(f"torch {torch.__version__}, {options.seconds:g} s of audio, load before the run {load:.1f}\n")
    print("| what | seconds per second |\n|---|---|")
    rows: list[tuple[str, float, str, dict[str, object]]] = [
        ("fast", options.seconds, "fast", {}),
        ("default", options.seconds, "default", {}),
        ("best", options.seconds, "best", {}),
        *((f"default, {s:g} s", s, "default", {}) for s in (5.0, 15.0, 60.0)),
        *((f"default, {n} draws", options.seconds, "default", {"estep__draws": n}) for n in (1, 4)),
        *(
            (f"default, {n} iterations", options.seconds, "default", {"inference__iterations": n})
            for n in (20, 80)
        ),
        *((f"default, rank {n}", options.seconds, "default", {"noise__rank": n}) for n in (2, 32)),
    ]
    for label, seconds, preset, overrides in rows:
        repeats = 1 if preset == "best" else options.repeats
        print(f"| {label} | {factor(seconds, repeats, preset, **overrides):.3f} |", flush=True)


if __name__ == "__main__":
    main()
