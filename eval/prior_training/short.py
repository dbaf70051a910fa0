"""Short trainings for comparisons alone: some of the speakers, a few epochs, equal scoring."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vae_se.data.corpus import hold_out, scan
from vae_se.data.features import FrameSet, load_features, log_power_statistics
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import PRIORS
from vae_se.rng import derive
from vae_se.training.job import Identity
from vae_se.training.loop import initialise
from vae_se.training.prior_trainer import PriorTrainer
from vae_se.training.recipes import Recipe, load_recipe
from vae_se.training.start import set_first_values


class Silent:
    """A progress bar that shows nothing."""

    def step(self, progress: Any, steps_per_epoch: int, running_loss: float) -> None:
        pass

    def epoch(self, record: dict[str, Any], best: bool) -> None:
        pass


def arguments_of(description: str, recipe: str, out: Path) -> argparse.ArgumentParser:
    """The command-line arguments of all comparisons."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--recipe", default=recipe)
    parser.add_argument("--fraction", type=float, default=0.1, help="of the training speakers")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def frames_of(arguments: argparse.Namespace) -> list[FrameSet]:
    """Frames of some training speakers, and every tenth frame of the validation speech."""
    signal = load_recipe(arguments.recipe).signal
    corpus = scan(arguments.train)
    chosen = hold_out(corpus, arguments.fraction, derive(0, "ablation"))
    valid = FrameSet.of(load_features(scan(arguments.valid), signal, arguments.cache))
    return [
        FrameSet.of(load_features(corpus, signal, arguments.cache), lambda u: u.speaker in chosen),
        dataclasses.replace(valid, frames=valid.frames[::10]),
    ]


def train(
    recipe: Recipe,
    sets: list[FrameSet],
    kind: Callable[..., Any] | None = None,
    adjust: Callable[[Any], None] = lambda _: None,
) -> dict[str, Any]:
    """The record of the last epoch (not of the best one), and further figures.

    ``kind`` replaces the recipe's architecture; ``adjust`` changes the untrained model.
    """
    kind = kind or PRIORS[recipe.architecture]
    mean, std = (torch.from_numpy(a).float() for a in log_power_statistics(sets[0], POWER_FLOOR))
    some = torch.from_numpy(sets[0].gather(slice(None, None, 16)))

    def build() -> Any:
        model = kind(**recipe.model, signal=recipe.signal)
        model.set_statistics(mean, std)
        set_first_values(model, some, recipe.train)
        return model

    model = initialise(build, 0)
    with torch.no_grad():
        adjust(model)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        progress = PriorTrainer(
            model, *sets, dataclasses.replace(recipe.train, checkpoint_steps=10**9), 0,
            Path(folder) / "checkpoint.pt", Identity("short"), lambda _: None, Silent(), torch.device("cpu"),
        ).run()  # fmt: skip
    last = progress.history[-1]
    return last | {
        "epoch_1_itakura_saito": progress.history[0]["valid_itakura_saito"],
        "clipped": last["train_clipped"],
        "train_frames": len(sets[0]),
        "seconds": time.monotonic() - started,
    }


class Rows:
    """A CSV file to which rows are appended; existing rows are kept."""

    def __init__(self, path: Path, fields: Sequence[str], keys: Sequence[str]) -> None:
        self.path, self.fields, self.keys = path, list(fields), list(keys)
        if not path.is_file():
            self._append(self.fields)

    def read(self) -> list[dict[str, str]]:
        """All rows."""
        with self.path.open() as file:
            return list(csv.DictReader(file))

    def run(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
        """Measure the row of this key, unless it exists. A training that diverges is a row, too."""
        if any(all(row[k] == _spelled(k, key[k]) for k in self.keys) for row in self.read()):
            return
        try:
            record = measure()
        except Exception as error:
            print(f"{key}: {error}", flush=True)
            record = dict.fromkeys(self.fields, math.nan)
        row = record | key
        self._append([_spelled(k, row[k]) for k in self.fields])
        print({k: row[k] for k in self.fields}, flush=True)

    def _append(self, values: Any) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(values)


def _spelled(name: str, value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and name != "valid_loss" else str(value)
