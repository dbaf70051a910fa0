"""What makes the lab's narrow, deep stack train slowly, one change at a time.

    python eval/prior_training/ablate.py ../shared/data/speech/train ../shared/data/speech/valid

Each variant starts from the `lab` recipe and takes one thing away (or puts one in its place); `bare` takes
all away. Training is short: a tenth of the speakers, a few epochs, the schedule fitted to that. All are
scored alike, on every tenth frame of the validation speech.
Rows go to eval/prior_training/results.csv as they are done; rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from vae_se.data.corpus import hold_out, scan
from vae_se.data.features import FrameSet, load_features, log_power_statistics
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import PRIORS
from vae_se.priors.ffvae import FFVAE
from vae_se.priors.posterior import GaussianPosterior
from vae_se.rng import derive
from vae_se.training.loop import Trainer, initialise
from vae_se.training.recipes import load_recipe
from vae_se.training.start import set_first_values


class PowerInput(FFVAE):
    """The encoder sees |x|^2 as it is."""

    def encode(self, power: torch.Tensor) -> GaussianPosterior:
        hidden = self.encoder(power)
        return GaussianPosterior(self.mean_head(hidden), self.log_variance_head(hidden))


class LogInput(FFVAE):
    """The encoder sees log(|x|^2 + floor), not standardised."""

    def encode(self, power: torch.Tensor) -> GaussianPosterior:
        hidden = self.encoder(torch.log(power + POWER_FLOOR))
        return GaussianPosterior(self.mean_head(hidden), self.log_variance_head(hidden))


@dataclasses.dataclass(frozen=True)
class Variant:
    """``input`` power | log | standardised; ``bias`` recipe | zero; ``output_scale`` over the recipe's."""

    input: str = "standardised"
    bias: str = "recipe"
    output_scale: float = 1.0
    settings: tuple[str, ...] = ()


BARE = (
    "train.initial_log_variance=0.0", "train.fitted_start=false", "train.learning_rate=1e-3",
    "train.output_rate=1.0", "train.beta_warmup_epochs=0", "train.warmup_steps=0", "train.final_rate=1.0",
    "train.clip_norm=1e12",
)  # fmt: skip
VARIANTS = {
    "recipe as it is": Variant(),
    "bare": Variant("power", "zero", 10.0, BARE),
    "bare + standardised log-power": Variant("standardised", "zero", 10.0, BARE),
    "bare + standardised log-power + output bias (mean logarithm)": Variant(settings=BARE),
    "output layer at the common learning rate": Variant(settings=("train.output_rate=1.0",)),
    "output layer at 3 times": Variant(settings=("train.output_rate=3.0",)),
    "output layer at 30 times": Variant(settings=("train.output_rate=30.0",)),
    "q starts at log-variance 0": Variant(settings=("train.initial_log_variance=0.0",)),
    "q starts at log-variance -2": Variant(settings=("train.initial_log_variance=-2.0",)),
    "q starts at log-variance -6": Variant(settings=("train.initial_log_variance=-6.0",)),
    "Xavier start, output bias at the mean logarithm": Variant(settings=("train.fitted_start=false",)),
    "encoder sees power": Variant("power"),
    "encoder sees log-power, not standardised": Variant("log"),
    "output bias zero": Variant(bias="zero"),
    "no KL warm-up": Variant(settings=("train.beta_warmup_epochs=0",)),
    "KL warm-up over 2 epochs": Variant(settings=("train.beta_warmup_epochs=2",)),
    "learning rate 1e-3": Variant(settings=("train.learning_rate=1e-3",)),
    "learning rate 5e-3": Variant(settings=("train.learning_rate=5e-3",)),
    "constant learning rate": Variant(settings=("train.final_rate=1.0",)),
    "batches of 128": Variant(settings=("train.batch_frames=128",)),
    "gradient clipped at 50": Variant(settings=("train.clip_norm=50.0",)),
    "no level jitter": Variant(settings=("train.level_jitter_db=0.0",)),
    "silu, not tanh": Variant(settings=('model.activation="silu"',)),
}
FIELDS = ["variant", "recipe", "epochs", "train_frames", "valid_loss", "valid_reconstruction", "valid_kl",
          "valid_itakura_saito", "valid_active", "epoch_1_itakura_saito", "clipped", "seconds"]  # fmt: skip


class Silent:
    """No progress."""

    def step(self, progress: Any, steps_per_epoch: int, running_loss: float) -> None:
        pass

    def epoch(self, record: dict[str, Any], best: bool) -> None:
        pass


def train(
    variant: Variant, recipe_name: str, sets: list[FrameSet], epochs: int, more: list[str]
) -> dict[str, Any]:
    """Train one variant; the last epoch's record (not the best: the race is to the end)."""
    recipe = load_recipe(recipe_name, [f"train.epochs={epochs}", *more, *variant.settings])
    kind = {"power": PowerInput, "log": LogInput, "standardised": PRIORS[recipe.architecture]}[variant.input]
    mean, std = (torch.from_numpy(a).float() for a in log_power_statistics(sets[0], POWER_FLOOR))
    some = torch.from_numpy(sets[0].gather(slice(None, None, 16)))

    def build() -> FFVAE:
        model = kind(**recipe.model, signal=recipe.signal)
        model.set_statistics(mean, std)
        set_first_values(model, some, recipe.train)
        return model

    model = initialise(build, 0)
    with torch.no_grad():
        model.output.weight.mul_(variant.output_scale)
        if variant.bias == "zero":
            model.output.bias.zero_()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        progress = Trainer(
            model, *sets, dataclasses.replace(recipe.train, checkpoint_steps=10**9), 0,
            Path(folder) / "checkpoint.pt", "ablation", lambda _: None, Silent(), torch.device("cpu"),
        ).run()  # fmt: skip
    last = progress.history[-1]
    return last | {
        "epoch_1_itakura_saito": progress.history[0]["valid_itakura_saito"],
        "clipped": last["train_clipped"],
        "seconds": time.monotonic() - started,
    }


def every_tenth(frames: FrameSet) -> FrameSet:
    """Enough to validate on."""
    return dataclasses.replace(frames, frames=frames.frames[::10])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--recipe", default="lab")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the training speakers")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=None, help="names of variants")
    parser.add_argument("--set", nargs="*", default=[], help="more settings, for all")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.csv")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    signal = load_recipe(arguments.recipe).signal
    corpus = scan(arguments.train)
    chosen = hold_out(corpus, arguments.fraction, derive(0, "ablation"))
    sets = [
        FrameSet.of(load_features(corpus, signal, arguments.cache), lambda u: u.speaker in chosen),
        every_tenth(FrameSet.of(load_features(scan(arguments.valid), signal, arguments.cache))),
    ]
    done = set()
    if arguments.out.is_file():
        with arguments.out.open() as file:
            done = {(row["variant"], row["recipe"]) for row in csv.DictReader(file)}
    else:
        with arguments.out.open("w", newline="") as file:
            csv.writer(file).writerow(FIELDS)
    for name in arguments.only or VARIANTS:
        if (name, arguments.recipe) in done:
            continue
        try:
            record = train(VARIANTS[name], arguments.recipe, sets, arguments.epochs, arguments.set)
        except Exception as error:  # a variant that diverges is a result
            print(f"{name}: {error}", flush=True)
            record = dict.fromkeys(FIELDS, math.nan)
        row = record | {"variant": name, "recipe": arguments.recipe, "epochs": arguments.epochs,
                        "train_frames": len(sets[0])}  # fmt: skip
        with arguments.out.open("a", newline="") as file:
            csv.writer(file).writerow(
                [f"{row[k]:.4g}" if isinstance(row[k], float) and k != "valid_loss" else row[k] for k in FIELDS]
            )
        print(name, {k: row[k] for k in FIELDS[4:]}, flush=True)


if __name__ == "__main__":
    main()
