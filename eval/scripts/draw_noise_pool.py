"""Draw a pool of simulated noise for the training of a noisy encoder.

    python eval/scripts/draw_noise_pool.py FOLDER [--items 3000] [--seconds 8] [--seed 0] [--processes 2]
    [--prior default]

The pool is a function of these options alone. 3000 items of 8 s take 770 MB and about four minutes on two
cores.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

from vae_se.noisy_encoder.simulation.pool import draw_pool

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--prior", default="default")
    given = parser.parse_args()
    pool = draw_pool(
        given.folder, given.prior, given.items, given.seconds, given.seed, given.processes,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    for name, count in sorted(collections.Counter(pool.names).items()):
        print(f"{name:10s} {count}")
