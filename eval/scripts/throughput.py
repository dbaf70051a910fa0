"""Throughput of the scoring processes: files per second, use of the cores, growth of the memory.

    python eval/scripts/throughput.py --files 500 --seconds 5 --jobs 2

Scores synthetic pairs by PESQ-wb, STOI and SI-SDR and prints a JSON object. Measures the memory of this
process and of the workers together, after a tenth of the files and at the end; workers are not replaced, so
that growth would show.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections import deque
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from vae_se.metrics import ScorePool

RATE = 16000
NAMES = ("pesq_wb", "stoi", "si_sdr")


def synthetic(index: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """A buzz with syllables and pauses, clean and noisy, (T,) each."""
    rng = np.random.default_rng(index)
    time_axis = np.arange(round(seconds * RATE)) / RATE
    pulses = (np.diff(np.floor(110 * time_axis), prepend=0) > 0).astype(np.float64)
    voice = lfilter([1.0], [1.0, -1.6, 0.8], pulses + 0.02 * rng.standard_normal(time_axis.size))
    voice *= np.clip(np.sin(2 * np.pi * 1.5 * time_axis + rng.uniform(0, 6)), 0.0, None)
    voice *= 0.1 / np.std(voice)
    return voice, voice + 0.02 * rng.standard_normal(voice.size)


def resident_mib(pids: list[int]) -> float:
    """Memory in MiB of this process and of ``pids`` (Linux)."""
    total = 0
    for pid in [os.getpid(), *pids]:
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * resource.getpagesize() / 2**20


def cpu_seconds(pids: list[int]) -> np.ndarray:
    """Seconds that ``pids`` together have run on a core, and have waited for one (Linux).

    On a shared machine the first is less than the time that the pool could use. Their sum over the wall time
    is the number of cores that the pool uses or requests.
    """
    spent = np.zeros(2)
    for pid in pids:
        spent += [int(field) for field in Path(f"/proc/{pid}/schedstat").read_text().split()[:2]]
    return spent / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    pairs = [synthetic(index, options.seconds) for index in range(20)]
    with ScorePool(options.jobs, recycle=10**9) as pool:
        # The clock starts after every process has loaded its libraries.
        for future in [pool.submit(NAMES, *pairs[0], RATE) for _ in range(4 * options.jobs)]:
            future.result()
        start, cpu, early, failed = time.perf_counter(), cpu_seconds(pool.pids()), 0.0, 0
        waiting = deque()
        for index in range(options.files):
            waiting.append(pool.submit(NAMES, *pairs[index % len(pairs)], RATE))
            while len(waiting) > 4 * options.jobs:
                failed += any(s.reason for s in waiting.popleft().result().values())
            if index == options.files // 10:
                early = resident_mib(pool.pids())
        while waiting:
            failed += any(s.reason for s in waiting.popleft().result().values())
        wall = time.perf_counter() - start
        busy = cpu_seconds(pool.pids()) - cpu
        late = resident_mib(pool.pids())
    print(json.dumps({
        "files": options.files, "seconds_each": options.seconds, "jobs": options.jobs, "failed": failed,
        "files_per_second": round(options.files / wall, 2), "wall_seconds": round(wall, 1),
        "cores_used": round(busy[0] / wall, 2), "cores_used_or_waited_for": round(busy.sum() / wall, 2),
        "cpu_seconds_per_file": round(busy[0] / options.files, 3),
        "memory_mib_early": round(early, 1), "memory_mib_end": round(late, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
