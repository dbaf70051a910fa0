"""Speed of enhancing recordings in batches: core seconds per second of audio, by batch size.

    python eval/scripts/batches.py

Prints the table of docs/scaling.md. Times are processor times of one thread, which other work on the machine
disturbs little. Takes three minutes on an idle core.
"""

from __future__ import annotations

import time

import numpy as np
import soundfile
import torch
from corpus import EXAMPLE

from vae_se.enhancement.enhancer import Enhancer

LENGTHS = {0.5: 32, 1.0: 32, 2.0: 24, 4.0: 16, 8.0: 8}  # duration of a file in seconds: number of files
SIZES = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Print a row for every preset and duration."""
    torch.set_num_threads(1)
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    for preset in ("default", "fast"):
        enhancer = Enhancer.from_pretrained(preset=preset, device="cpu")
        for seconds, count in LENGTHS.items():
            waves = [np.roll(np.resize(samples, round(seconds * rate)), 997 * i) for i in range(count)]
            enhancer.enhance(waves[0], rate)
            row = []
            for size in (size for size in SIZES if size <= count):
                started = time.process_time()
                for first in range(0, count, size):
                    enhancer.enhance_batch(waves[first : first + size], rate)
                row.append(f"{(time.process_time() - started) / (count * seconds):.3f}")
            print(f"| {preset}, {seconds:g} s | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
