"""Named training configurations, and how single keys of them are overridden."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
import types
import typing
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..config import parse_value
from ..errors import UsageError, nearest
from ..priors import PRIORS
from ..signal_spec import SignalSpec


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How to train. Keys of a recipe's [train] table.

    epochs              passes over the training frames
    batch_frames        frames a step
    sequence_frames     frames of a sequence, for priors with memory; 0: frames are shuffled one by one
    own_past            probability that an autoregressive prior is given its own past, at the end
    own_past_from       epochs before that probability begins to rise from 0
    own_past_epochs     epochs over which it rises
    learning_rate       of AdamW, at the top of the schedule
    final_rate          fraction of it at the end of the cosine
    warmup_steps        steps of linear rise of the learning rate
    weight_decay        of AdamW (decoupled), on weight matrices only
    clip_norm           bound on the norm of the gradient
    beta                weight of the KL term, after its warm-up
    beta_warmup_epochs  epochs over which the weight rises linearly from 0
    free_bits           nats per latent dimension below which its batch-mean KL is not penalised
    level_jitter_db     each frame is seen at a level drawn uniformly within +- this
    output_rate         learning rate of the decoder's last layer, relative to the others'
    initial_log_variance  of q(z|s), before training
    fitted_start        hidden layers start as orthogonal matrices, the first scaled to the data, the last
                        layer's bias at the mean power
    start               a trained ffvae (name or folder) whose layers a prior with memory starts from, or ""
    patience            epochs without a better validation ELBO before training stops
    checkpoint_steps    steps between two checkpoints (there is one after every epoch as well)
    """

    epochs: int = 14
    batch_frames: int = 512
    sequence_frames: int = 0
    own_past: float = 0.0
    own_past_from: float = 0.0
    own_past_epochs: float = 1.0
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    output_rate: float = 1.0
    warmup_steps: int = 200
    weight_decay: float = 0.0
    clip_norm: float = 500.0
    beta: float = 1.0
    beta_warmup_epochs: float = 0.5
    free_bits: float = 0.0
    level_jitter_db: float = 6.0
    initial_log_variance: float = 0.0
    fitted_start: bool = False
    start: str = ""
    patience: int = 6
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_frames", "learning_rate", "output_rate", "clip_norm", "patience",
                     "checkpoint_steps"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise UsageError(f"train.{name} = {getattr(self, name)}", "it must be above zero")
        for name in ("final_rate", "warmup_steps", "weight_decay", "beta", "beta_warmup_epochs", "free_bits",
                     "level_jitter_db", "sequence_frames", "own_past", "own_past_from",
                     "own_past_epochs"):  # fmt: skip
            if getattr(self, name) < 0:
                raise UsageError(f"train.{name} = {getattr(self, name)}", "it must not be negative")
        if self.own_past > 1:
            raise UsageError(f"train.own_past = {self.own_past}", "it is a probability")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train (architecture, its keywords, the signal) and how."""

    architecture: str
    model: dict[str, Any]
    signal: SignalSpec
    train: TrainOptions

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, in the layout of the TOML files."""
        return {
            "architecture": self.architecture,
            "model": dict(self.model),
            "signal": dataclasses.asdict(self.signal),
            "train": dataclasses.asdict(self.train),
        }


def names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or TOML file, with ``key=value`` overrides such as ``train.epochs=3``.

    The table may be left out where the key is in one table only (``epochs=3``). Values are TOML; what is
    not TOML is taken as a string. Unknown names and keys raise UsageError naming the nearest.
    """
    if name_or_path in names():
        text = (resources.files(__package__) / "recipes" / f"{name_or_path}.toml").read_text()
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text()
    else:
        raise UsageError(f"unknown recipe {name_or_path!r}", nearest(name_or_path, names()))
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {name_or_path}: {error}", "it must be a TOML file") from None
    for override in overrides:
        _override(tables, override)
    return _build(tables)


def _fields(architecture: str) -> dict[str, dict[str, Any]]:
    """Types of all keys by table."""
    parameters = inspect.signature(PRIORS[architecture].__init__).parameters
    model = {name: None for name in parameters if name not in ("self", "signal")}
    return {
        "model": model,
        "signal": typing.get_type_hints(SignalSpec),
        "train": typing.get_type_hints(TrainOptions),
    }


def _override(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals:
        raise UsageError(f"--set {override}", "expected key=value, such as train.epochs=3")
    if key == "architecture":
        tables[key] = text.strip()
        return
    fields = _fields(_architecture(tables))
    full = {f"{table}.{name}": (table, name) for table, entries in fields.items() for name in entries}
    matches = [place for dotted, place in full.items() if key == dotted or key == place[1]]
    if not matches:
        known = set(full) if "." in key else {name for _, name in full.values()}
        raise UsageError(f"unknown key {key!r}", nearest(key, known))
    table, name = matches[0]
    tables.setdefault(table, {})[name] = parse_value(text.strip())


def _architecture(tables: dict[str, Any]) -> str:
    architecture = tables.get("architecture", "ffvae")
    if not isinstance(architecture, str):
        raise UsageError(f"architecture = {architecture!r}", "expected a name")
    return architecture


def _build(tables: dict[str, Any]) -> Recipe:
    architecture = _architecture(tables)
    fields = _fields(architecture)
    for table, entries in tables.items():
        if table == "architecture":
            continue
        if table not in fields:
            raise UsageError(f"unknown table [{table}] in a recipe", nearest(table, fields))
        for name, value in entries.items():
            if name not in fields[table]:
                raise UsageError(f"unknown key {table}.{name}", nearest(name, fields[table]))
            check_type(f"{table}.{name}", value, fields[table][name])
    return Recipe(
        architecture,
        dict(tables.get("model", {})),
        SignalSpec(**tables.get("signal", {})),
        TrainOptions(**tables.get("train", {})),
    )


def check_type(key: str, value: Any, wanted: Any) -> None:
    """Integers pass as floats, nothing else is converted. Model keywords are the constructor's affair."""
    if wanted is None or isinstance(wanted, types.UnionType):
        return
    accepted = (int, float) if wanted is float else (wanted,)
    if not isinstance(value, accepted) or isinstance(value, bool) is not (wanted is bool):
        raise UsageError(f"{key} = {value!r}", f"expected {wanted.__name__}")
