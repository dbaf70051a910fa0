"""Latency, load, block times and drop-outs of live streams.

    python eval/scripts/live.py ../shared/data [--minutes 10] [--latency 0.064 0.304] > eval/results/live.md

The data folder contains speech/valid and noise/KIND/. Mixtures of validation speakers at -5 to 15 dB follow
one another without a gap, as long as `--minutes` says, and are pushed block by block into one stream of one
thread. The arrival of the blocks is simulated, so that the run takes no longer than its computing: a block
arrives every `block` seconds, and its processing starts when it has arrived and the one before it is done. It
is a drop-out where it is done later than the next block arrives: the loudspeaker holds one block, and runs out
then. The delay is measured too: by how much the samples returned lag behind those received, at most.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.enhancement.live import LiveEnhancer

RATE = 16000


@dataclass
class Run:
    """What one stream did: seconds of every block (wall clock, processor), its largest delay in samples."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    behind: int = 0

    def dropouts(self, block: float) -> int:
        """Blocks that were done later than the next one arrived."""
        done, late = 0.0, 0
        for number, spent in enumerate(self.wall, 1):
            done = max(done, number * block) + spent
            late += done > (number + 1) * block
            done = min(done, (number + 1) * block)  # the gap is heard, and the stream is on time again
        return late


def sound(data: Path, minutes: float) -> Iterator[np.ndarray]:
    """Mixtures one after the other, at least ``minutes`` of them."""
    recipe = MixingRecipe(
        count=max(1, round(minutes * 12)), seed=78, min_utterance=1.0, join_to=5.0, max_seconds=10
    )
    heard = 0
    for mixture in mixtures(recipe, data / "speech/valid", data / "noise"):
        yield mixture.noisy.astype(np.float32)
        heard += mixture.noisy.size
        if heard >= minutes * 60 * RATE:
            return


def measured(noisy: np.ndarray, latency: float) -> tuple[LiveEnhancer, Run]:
    """Push ``noisy`` (T,) block by block."""
    live = LiveEnhancer.from_pretrained(RATE, latency=latency)
    live.push(np.zeros(0, np.float32))
    step, run, received, returned = round(live.block * RATE), Run(), 0, 0
    for start in range(0, noisy.size - step + 1, step):
        part = noisy[start : start + step]
        wall, processor = time.perf_counter(), time.process_time()
        speech = live.push(part)
        run.processor.append(time.process_time() - processor)
        run.wall.append(time.perf_counter() - wall)
        # Until this block came, its first sample and all before it were waiting.
        received += part.size
        run.behind = max(run.behind, received - returned)
        returned += speech.size
    return live, run


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.064, 0.304])
    options = parser.parse_args()
    torch.set_num_threads(1)
    noisy = np.concatenate(list(sound(options.data, options.minutes)))
    latencies = " ".join(f"{value:g}" for value in options.latency)
    print("# Live streams: delay, load, drop-outs\n")
    print(
        f"    python eval/scripts/live.py ../shared/data --minutes {options.minutes:g} --latency {latencies}\n"
    )
    print(
        f"{noisy.size / RATE / 60:.1f} minutes of mixtures; one thread, torch {torch.__version__}, "
        f"{platform.machine()}, load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.\n"
    )
    print("| latency, ms | delay measured | block | processor, s per s | wall, s per s | processor p50 | p99 | "
          "wall p50 | p99 | drop-outs |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for latency in options.latency:
        live, run = measured(noisy, latency)
        heard = len(run.wall) * live.block
        quantiles = [1000 * np.quantile(times, q) for times in (run.processor, run.wall) for q in (0.5, 0.99)]
        cells = [
            f"{1000 * live.latency:.0f}", f"{1000 * run.behind / RATE:.0f}", f"{1000 * live.block:.0f}",
            f"{sum(run.processor) / heard:.2f}", f"{sum(run.wall) / heard:.2f}",
            *(f"{value:.1f}" for value in quantiles),
            f"{run.dropouts(live.block)} of {len(run.wall)}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
        print(f"{latency}: done", file=sys.stderr)


if __name__ == "__main__":
    main()
