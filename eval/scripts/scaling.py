"""Cost of an hour of audio by stage, and of a corpus of 10,000 hours.

    python eval/scripts/scaling.py [--minutes 5] [--price 0.04] [--out eval/results/scaling.md]

Runs every stage in this process with one thread: reading, resampling and writing by format, enhancement by
preset in the batches of --batch auto, and scoring. Times are processor times, which other work on the machine
disturbs little. ``--price`` is the price of a core hour in dollars, an assumption like the number of cores of
a machine. Takes ten minutes on an idle core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from corpus import write_corpus

from vae_se.audio import files
from vae_se.audio.resample import resample
from vae_se.cli.batching import BUDGET
from vae_se.enhancement.enhancer import Enhancer
from vae_se.metrics import score

FORMATS = {
    "WAV": ("wav", "PCM_16"),
    "FLAC": ("flac", "PCM_16"),
    "MP3": ("mp3", "MPEG_LAYER_III"),
    "OGG": ("ogg", "VORBIS"),
}
SCORES = ("pesq_wb", "stoi", "estoi", "si_sdr")
HOURS = 10_000
CORES = 64  # of the assumed machine


def spent(action: Callable[[], Any]) -> float:
    """Processor seconds of an action."""
    started = time.process_time()
    action()
    return time.process_time() - started


def enhancing(waves: list[np.ndarray], rate: int, preset: str) -> float:
    """Core seconds per second of audio, in batches of similar duration."""
    enhancer = Enhancer.from_pretrained(preset=preset, device="cpu")
    enhancer.enhance(waves[0], rate)
    waves, batches = sorted(waves, key=len), []
    for wave in waves:
        if not batches or (len(batches[-1]) + 1) * wave.size > BUDGET * rate:
            batches.append([])
        batches[-1].append(wave)
    seconds = sum(wave.size for wave in waves) / rate
    return spent(lambda: [enhancer.enhance_batch(batch, rate) for batch in batches]) / seconds


def stages(minutes: float, folder: Path) -> Iterator[tuple[str, float, float | None]]:
    """Rows: stage, core seconds per second of audio, MB per hour of audio where it is stored."""
    seconds = write_corpus(folder / "in", round(minutes * 60 / 6.5), 3.0, 10.0)
    waves = [soundfile.read(path, dtype="float32")[0] for path in sorted((folder / "in").iterdir())]
    recordings = [files.read(path) for path in sorted((folder / "in").iterdir())]
    rate = recordings[0].rate
    for name, (extension, subtype) in FORMATS.items():
        paths = [folder / f"{number}.{extension}" for number in range(len(waves))]

        def write(paths: list[Path] = paths, name: str = name, subtype: str = subtype) -> None:
            for path, recording in zip(paths, recordings, strict=True):
                like = files.Recording(recording.samples, rate, name, subtype)
                files.write(path, recording.samples, like)

        written = spent(write) / seconds
        size = sum(path.stat().st_size for path in paths) / seconds * 3600 / 1e6
        yield f"write {name}", written, size
        yield f"read {name}", spent(lambda paths=paths: [files.read(path) for path in paths]) / seconds, None

    def there_and_back() -> None:
        for wave in waves:
            resample(resample(wave, 16000, 48000), 48000, 16000)

    yield "resample from and to 48 kHz", spent(there_and_back) / seconds, None
    for preset in ("fast", "default"):
        yield f"enhance, {preset}", enhancing(waves, rate, preset), None
    few = waves[: max(4, len(waves) // 4)]
    noise = np.random.default_rng(0)
    pairs = [(wave, wave + 0.01 * noise.standard_normal(wave.size)) for wave in few]
    cost = spent(lambda: [score(SCORES, *pair, rate) for pair in pairs]) / (sum(w.size for w in few) / rate)
    yield "score: " + ", ".join(SCORES), cost, None


def main() -> None:
    """Print the table, and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--price", type=float, default=0.04)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# What a corpus costs",
        "",
        f"    python eval/scripts/scaling.py --minutes {options.minutes:g} --price {options.price:g}",
        "",
        f"16 kHz, one channel, files of 3 to 10 s, one thread; load before the run {os.getloadavg()[0]:.1f}. "
        f"For {HOURS:,} hours: days on a machine of {CORES} cores, and dollars at {options.price:g} a core "
        "hour.",
        "",
        f"| stage | core s per s | stored, MB per h | {HOURS:,} h: core hours | days | $ | TB |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, cost, size in stages(options.minutes, Path(folder)):
            hours = cost * HOURS
            stored = ("", "") if size is None else (f"{size:.0f}", f"{size * HOURS / 1e6:.2f}")
            lines.append(
                f"| {name} | {cost:.5f} | {stored[0]} | {hours:,.0f} | "
                f"{hours / CORES / 24:.2f} | {hours * options.price:,.0f} | {stored[1]} |"
            )
            print(lines[-1], flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
