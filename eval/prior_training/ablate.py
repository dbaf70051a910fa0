"""Why the lab's narrow, deep network trains slowly: an ablation with one change at a time.

    python eval/prior_training/ablate.py ../shared/data/speech/train ../shared/data/speech/valid

Each variant changes one part of the `lab` recipe; `bare` removes all of them. Training is short: a tenth of
the speakers, a few epochs, and a schedule of that length. All variants are scored on every tenth frame of the
validation speech. Appends rows to eval/prior_training/results.csv; existing rows are kept.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from short import Rows, arguments_of, frames_of, train

from vae_se.numerics import POWER_FLOOR
from vae_se.priors import PRIORS
from vae_se.priors.ffvae import FFVAE
from vae_se.training.recipes import load_recipe


class PowerInput(FFVAE):
    """The encoder input is |x|^2."""

    def features(self, power: torch.Tensor) -> torch.Tensor:
        return power


class LogInput(FFVAE):
    """The encoder input is log(|x|^2 + floor), not standardised."""

    def features(self, power: torch.Tensor) -> torch.Tensor:
        return torch.log(power + POWER_FLOOR)


@dataclasses.dataclass(frozen=True)
class Variant:
    """``input`` power | log | standardised; ``bias`` recipe | zero; ``output_scale``: over the recipe's."""

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


def measure(variant: Variant, recipe_name: str, sets: list[Any], settings: list[str]) -> dict[str, Any]:
    """Train one variant."""
    recipe = load_recipe(recipe_name, [*settings, *variant.settings])
    kind = {"power": PowerInput, "log": LogInput, "standardised": PRIORS[recipe.architecture]}[variant.input]

    def adjust(model: FFVAE) -> None:
        model.output.weight.mul_(variant.output_scale)
        if variant.bias == "zero":
            model.output.bias.zero_()

    return train(recipe, sets, kind, adjust)


def main() -> None:
    parser = arguments_of(__doc__.splitlines()[0], "lab", Path(__file__).parent / "results.csv")
    parser.add_argument("--only", nargs="*", default=None, help="names of variants")
    parser.add_argument("--set", nargs="*", default=[], help="more settings, for all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sets = frames_of(arguments)
    rows = Rows(arguments.out, FIELDS, ["variant", "recipe"])
    settings = [f"train.epochs={arguments.epochs}", *arguments.set]
    for name in arguments.only or VARIANTS:
        key = {"variant": name, "recipe": arguments.recipe, "epochs": arguments.epochs}
        rows.run(key, lambda name=name: measure(VARIANTS[name], arguments.recipe, sets, settings))


if __name__ == "__main__":
    main()
