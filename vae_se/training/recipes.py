"""Training recipes: named TOML files, and overrides of single keys."""

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
from ..deprecated import current_name
from ..errors import UsageError, nearest
from ..priors import PRIORS
from ..priors.store import RENAMED_KEYWORDS
from ..signal_spec import SignalSpec

#: Keys of release 0.1.0 in overrides, and their present names.
_RENAMED = RENAMED_KEYWORDS | {f"model.{old}": f"model.{new}" for old, new in RENAMED_KEYWORDS.items()}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Training options: the keys of a recipe's [train] table.

    epochs              passes over the training frames
    batch_frames        frames per step
    sequence_frames     frames of a sequence, for dynamical priors; 0: single frames in shuffled order
    own_past            final probability that scheduled sampling feeds a prior its own past output
    own_past_from       epochs before that probability begins to increase from 0
    own_past_epochs     epochs over which it increases
    learning_rate       of AdamW, the highest of the schedule
    final_rate          fraction of it at the end of the cosine
    warmup_steps        steps of linear increase of the learning rate
    weight_decay        of AdamW (decoupled), on weight matrices only
    clip_norm           bound on the norm of the gradient
    beta                weight of the KL term, after its warm-up
    beta_warmup_epochs  epochs over which the weight increases linearly from 0
    free_bits           nats per latent below which its batch-mean KL is not penalised
    level_jitter_db     the level of each frame or sequence is changed by a uniform draw within +- this
    output_rate         learning rate of the output layer, relative to the others
    initial_log_variance  of q(z | s) before training
    fitted_start        initialise hidden layers as orthogonal matrices, the first one scaled to the data,
                        and the output's bias at the mean power
    start               a trained prior (name or folder) of the same architecture and sizes, or an ffvae for a
                        dynamical prior, from whose layers training starts, or ""
    only_dynamics       train only p(z) of a dynamical prior; encoder and decoder stay those of start
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
    only_dynamics: bool = False
    patience: int = 6
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        values = dataclasses.asdict(self)
        for name in ("epochs", "batch_frames", "learning_rate", "output_rate", "clip_norm", "patience",
                     "checkpoint_steps"):  # fmt: skip
            if not values[name] > 0:
                raise UsageError(f"train.{name} = {values[name]}", "it must be above zero")
        for name in ("final_rate", "warmup_steps", "weight_decay", "beta", "beta_warmup_epochs", "free_bits",
                     "level_jitter_db", "sequence_frames", "own_past", "own_past_from",
                     "own_past_epochs"):  # fmt: skip
            if values[name] < 0:
                raise UsageError(f"train.{name} = {values[name]}", "it must not be negative")
        if self.own_past > 1:
            raise UsageError(f"train.own_past = {self.own_past}", "it is a probability")
        if self.only_dynamics and not self.start:
            raise UsageError("train.only_dynamics without train.start", "encoder and decoder must be trained")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Architecture, its keywords, the signal, and the training options."""

    architecture: str
    model: dict[str, Any]
    signal: SignalSpec
    train: TrainOptions

    def as_dict(self) -> dict[str, Any]:
        """The recipe in the layout of the TOML files, JSON-able."""
        return {
            "architecture": self.architecture,
            "model": dict(self.model),
            "signal": dataclasses.asdict(self.signal),
            "train": dataclasses.asdict(self.train),
        }


def names() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or TOML file, with ``key=value`` overrides such as ``train.epochs=3``.

    The table may be omitted (``epochs=3``). A value is TOML, or else a string. Unknown names and keys raise
    UsageError with the nearest known one.

    >>> load_recipe("default", ["epochs=3"]).train.epochs
    3
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
    """Types of all keys, by table; None for the keywords of the architecture."""
    parameters = inspect.signature(PRIORS[architecture].__init__).parameters
    model = {name: None for name in parameters if name not in ("self", "signal")}
    return {
        "model": model,
        "signal": typing.get_type_hints(SignalSpec),
        "train": typing.get_type_hints(TrainOptions),
    }


def _override(tables: dict[str, Any], override: str) -> None:
    """Set the key of one ``key=value`` override."""
    key, equals, text = override.partition("=")
    key = current_name(key.strip(), _RENAMED)
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


def _current_names(model: Any) -> Any:
    """The [model] table with the present names of its keys."""
    if not isinstance(model, dict):
        return model
    return {current_name(key, RENAMED_KEYWORDS): value for key, value in model.items()}


def _architecture(tables: dict[str, Any]) -> str:
    architecture = tables.get("architecture", "ffvae")
    if not isinstance(architecture, str):
        raise UsageError(f"architecture = {architecture!r}", "expected a name")
    return architecture


def _build(tables: dict[str, Any]) -> Recipe:
    """The recipe from its tables; UsageError for an unknown table or key, or a wrong type."""
    architecture = _architecture(tables)
    tables = tables | {"model": _current_names(tables.get("model", {}))}
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
    """Raise UsageError where ``value`` is not of the type ``wanted``; an integer is accepted as a float.

    A type of None is not checked: the constructor checks the keywords of a model.
    """
    if wanted is None or isinstance(wanted, types.UnionType):
        return
    accepted = (int, float) if wanted is float else (wanted,)
    if not isinstance(value, accepted) or isinstance(value, bool) is not (wanted is bool):
        raise UsageError(f"{key} = {value!r}", f"expected {wanted.__name__}")
