"""Copy a trained noisy encoder to where the prior finds it, with commands that remake it there.

    python eval/scripts/ship_noisy_encoder.py TRAINING pretrained/default/noisy_encoder

TRAINING is the folder of `vae-se train --amortise`. In the copy, the command's `--out` is the new folder, and
the `--out` of each training before it is the folder that the next one started from, so that the commands of the
card can be run one after the other.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path

from vae_se.noisy_encoder.store import read_config, write_config
from vae_se.training.noisy_encoder_card import write_card
from vae_se.training.report import CURVES, HISTORY


def written_to(command: str, out: str) -> str:
    """``command`` with ``out`` as the value of --out, and without --cache, which changes nothing."""
    words = shlex.split(command)
    words[words.index("--out") + 1] = out
    if "--cache" in words:
        at = words.index("--cache")
        del words[at : at + 2]
    return shlex.join(words)


def started_from(command: str) -> str:
    """The folder in the setting start=FOLDER of ``command``."""
    return next(word.removeprefix("start=") for word in shlex.split(command) if word.startswith("start="))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    config = read_config(given.training)
    training = config["training"]
    training["command"] = written_to(training["command"], str(given.out))
    record = training
    while "start" in record:
        folder = started_from(record["command"])
        record = record["start"]
        record["command"] = written_to(record["command"], folder)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in ("weights.safetensors", HISTORY, CURVES):
        shutil.copyfile(given.training / name, given.out / name)
    write_config(given.out, config)
    write_card(given.out, config)


if __name__ == "__main__":
    main()
