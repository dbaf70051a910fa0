"""Speed of vae-se enhance on a folder of short files: batches and processes, compared with one file at a time.

    python eval/scripts/corpus.py [--files 200] [--rounds 3] [--preset default] [--out eval/results/corpus.md]

Writes files of 3 to 10 s (seeded parts of the example) into a temporary folder and enhances them in four
ways, in alternation; times include the start-up. Compare the first and the last row within a round, because
other work on the machine changes from round to round. Takes ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "noisy.wav"
WAYS = {
    "one process, one file after another": ("--jobs", "1", "--batch", "1"),
    "one process, batches": ("--jobs", "1", "--batch", "auto"),
    "processes, one file at a time": ("--jobs", "auto", "--batch", "1"),
    "processes and batches, as it is without options": (),
}


def write_corpus(folder: Path, files: int, shortest: float, longest: float, seed: int = 0) -> float:
    """Write recordings of ``shortest`` to ``longest`` seconds into ``folder``; return their total duration."""
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    rng = np.random.default_rng(seed)
    lengths = (rng.uniform(shortest, longest, files) * rate).round().astype(int)
    folder.mkdir(parents=True, exist_ok=True)
    for number, length in enumerate(lengths):
        piece = np.roll(np.resize(samples, max(length, samples.size)), -int(rng.integers(samples.size)))
        soundfile.write(folder / f"{number:05d}.wav", piece[:length], rate)
    return float(lengths.sum() / rate)


def enhance(source: Path, target: Path, *options: str) -> tuple[float, float]:
    """Wall and processor seconds of ``vae-se enhance`` on a folder, its workers included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "vae_se",
        "enhance",
        source,
        "-o",
        target,
        "--device",
        "cpu",
        "-q",
        *options,
    ]
    subprocess.run(list(map(str, command)), check=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table, and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    walls: dict[str, list[float]] = {way: [] for way in WAYS}
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        seconds = write_corpus(source, options.files, 3.0, 10.0, options.seed)
        for number in range(options.rounds):
            for way, arguments in WAYS.items():
                target = Path(folder) / f"{number}-{len(arguments)}-{'-'.join(arguments)}"
                wall, cpu = enhance(source, target, "--preset", options.preset, *arguments)
                walls[way].append(wall)
                spent[way].append(cpu)
                print(
                    f"round {number + 1}: {way}: {wall:.0f} s, {cpu:.0f} s on cores",
                    file=sys.stderr,
                    flush=True,
                )
    first = walls[next(iter(WAYS))]
    lines = [
        "# A folder of short files",
        "",
        f"    python eval/scripts/corpus.py --files {options.files} --rounds {options.rounds} "
        f"--preset {options.preset}",
        "",
        f"{options.files} files of 3 to 10 s, {seconds / 60:.1f} minutes in all, preset {options.preset}, seed "
        f"{options.seed}; {platform.machine()}, {len(os.sched_getaffinity(0))} cores, load before the run "
        f"{load:.1f}; medians of {options.rounds} rounds.",
        "",
        "| way | wall, s | on cores, s per s of sound | as fast as the first way |",
        "|---|---|---|---|",
    ]
    for way in WAYS:
        ratio = statistics.median(a / b for a, b in zip(first, walls[way], strict=True))
        cost = statistics.median(spent[way]) / seconds
        lines.append(f"| {way} | {statistics.median(walls[way]):.0f} | {cost:.3f} | {ratio:.2f} |")
    print("\n".join(lines))
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
