"""Every setting of the enhancer as one frozen tree, from presets, TOML files and ``--set a.b=value``.

No torch here: the command line reads settings before it loads anything heavy. What a name stands for
(an E-step, a noise model) is looked up in the registries, by :mod:`vae_se.assemble`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .deprecated import current_name
from .errors import UsageError, nearest

D = TypeVar("D")

#: Keys of release 0.1.0 that were renamed: old to new. They still work, with a warning, for one release.
RENAMED_KEYS = {
    "estep.rate": "estep.learning_rate",
    "estep.warm": "estep.warmup",
    "noise.start": "noise.init_spectrum",
    "noise.level": "noise.init_scale",
    "noise.spread": "noise.init_jitter",
    "noise.stretch": "noise.noise_segment",
    "noise.freedom": "noise.dof",
    "inference.recogniser": "inference.noisy_encoder",
}


@dataclasses.dataclass(frozen=True)
class EStepConfig:
    """How latents are drawn from their posterior: a kernel of vae_se/inference/estep and its settings.

    None leaves a setting at the kernel's own default; one that the kernel does not have is an error.
    """

    name: str = "vem"
    draws: int | None = None
    steps: int | None = None
    learning_rate: float | None = None
    sweeps: int | None = None
    step_size: float | None = None
    target_acceptance: float | None = None
    adaptation: int | None = None
    refresh: bool | None = None
    warmup: int | None = None
    precondition: bool | None = None
    total_variation: float | None = None


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """The model of the noise, and where it starts (vae_se/noise).

    ``rank`` is that of the learnt factorisation; ``file`` or ``noise_segment`` (a part of the recording such as
    0:00-0:02.5), and ``free`` atoms beside those, are for ``dictionary``; ``sparsity``, ``smoothness`` and
    ``relevance`` hold the activations of ``nmf``, ``gamma`` and ``inverse_gamma`` its spectra, and
    ``smoothness`` the level of ``stationary``; ``exponent`` is of the updates of ``nmf``; ``margin`` is for
    ``impulsive``, ``dof`` for ``student-t``, ``alpha`` and ``sweeps`` for ``alpha-stable``. None
    leaves a setting at the model's own default; one that the model does not have is an error.
    """

    name: str = "nmf"
    rank: int | None = None
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    file: str | None = None
    noise_segment: str | None = None
    free: int | None = None
    sparsity: float | None = None
    smoothness: float | None = None
    relevance: float | None = None
    gamma: float | None = None
    inverse_gamma: float | None = None
    exponent: float | None = None
    margin: float | None = None
    dof: float | None = None
    alpha: float | None = None
    sweeps: int | None = None


@dataclasses.dataclass(frozen=True)
class GainConfig:
    """The gain of the speech (vae_se/inference/gain.py): fixed, one per file, or one per frame."""

    kind: str = "frame"
    concentration: float = 5.0


@dataclasses.dataclass(frozen=True)
class InferenceConfig:
    """The EM loop. ``segment`` and ``overlap`` are in seconds: longer recordings are cut and cross-faded.

    ``pause_db``: how much further frames in which the model finds noise only are turned down, in dB.
    ``decoder_error``: how far, in nats (root mean square over what the prior generates), a cheaper form of
    the prior's decoder may be from it, where it has one; 0 is the decoder itself. ``noisy_encoder``: a folder with
    a noisy encoder for the prior, "auto" for the one that comes with the prior, where one does, or none
    to start from the prior's own encoder. ``starts``: how many starts are tried, of which the likeliest is gone
    on with.
    """

    iterations: int = 40
    averaging: int = 8
    encoder_floor: float = 0.05
    pause_db: float = 0.0
    segment: float = 30.0
    overlap: float = 2.0
    decoder_error: float = 0.03
    noisy_encoder: str | None = "auto"
    starts: int = 1


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """What leaves the enhancer.

    ``atten_lim_db``: the most that noise is turned down, in dB (infinite: no limit). ``floor_db``: how far
    below the speech noise is turned down at most, in dB (infinite: no limit; baselines have none): a recording
    that is clean already stays as it is, and what is left masks what the filter does to it. ``dry``: the part
    of the noisy recording that is mixed in, 0 to 1.
    """

    atten_lim_db: float = math.inf
    floor_db: float = 42.0
    dry: float = 0.0


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings. ``method`` is a named combination or a baseline; ``prior`` a shipped name or a folder."""

    prior: str = "default"
    method: str = "mcem"
    seed: int = 0
    estep: EStepConfig = dataclasses.field(default_factory=EStepConfig)
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    gain: GainConfig = dataclasses.field(default_factory=GainConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    output: OutputConfig = dataclasses.field(default_factory=OutputConfig)

    @classmethod
    def preset(cls, name: str = "default") -> Config:
        """The settings of a preset."""
        if name not in PRESETS:
            raise UsageError(f"unknown preset {name!r}", nearest(name, PRESETS))
        return cls().override(PRESETS[name])

    @classmethod
    def from_toml(cls, path: str | Path, base: Config | None = None) -> Config:
        """Settings of a TOML file over ``base`` (the defaults)."""
        try:
            with Path(path).open("rb") as file:
                tree = tomllib.load(file)
        except FileNotFoundError:
            raise UsageError(f"the configuration {path} does not exist", "--print-config writes one") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the configuration {path}: {error}", "it must be TOML") from None
        return (base or cls()).override(flatten(tree))

    def override(self, values: Mapping[str, Any]) -> Config:
        """A copy with dotted keys replaced, such as ``{"estep.draws": 10}``; types are checked.

        Raises UsageError for an unknown key, naming the nearest, or for a value of the wrong type.
        """
        out = self
        for key, value in values.items():
            key = current_name(key, RENAMED_KEYS)
            out = _replace(out, key.split("."), value, key)
        return out

    def set(self, *assignments: str) -> Config:
        """A copy with assignments ``a.b=value`` made; values are TOML, or bare words."""
        values: dict[str, Any] = {}
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals or not key.strip():
                raise UsageError(
                    f"{assignment!r} is no setting", "write key=value, for example inference.iterations=100"
                )
            values[key.strip()] = parse_value(text.strip())
        return self.override(values)

    def flat(self) -> dict[str, Any]:
        """Dotted keys to values."""
        return flatten(dataclasses.asdict(self))

    def to_toml(self) -> str:
        """The settings as TOML that :meth:`from_toml` reads back to an equal object."""
        top, tables = [], []
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, dict):
                tables += ["", f"[{name}]"] + [_line(k, v) for k, v in value.items()]
            else:
                top.append(_line(name, value))
        return "\n".join(top + tables) + "\n"


#: Presets as data: dotted keys over the defaults. ``default`` is what the dataclasses say.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"inference.iterations": 10, "inference.averaging": 4, "noise.exponent": 1.0},
    "default": {},
    "best": {
        "estep.name": "vem-mh",
        "estep.warmup": 40,
        "inference.iterations": 50,
        "inference.averaging": 10,
    },
}


def keys() -> list[str]:
    """All dotted keys."""
    return sorted(_leaves(Config, ""))


def _leaves(cls: type, prefix: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from _leaves(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield prefix + name


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none (so that names need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _replace(node: D, path: list[str], value: Any, key: str) -> D:
    hints = typing.get_type_hints(type(node))
    name, rest = path[0], path[1:]
    section = dataclasses.is_dataclass(hints.get(name))
    if name not in hints or section != bool(rest):
        raise UsageError(f"unknown setting {key!r}", _nearest_key(key))
    if section:
        return dataclasses.replace(node, **{name: _replace(getattr(node, name), rest, value, key)})  # type: ignore[type-var]
    return dataclasses.replace(node, **{name: _checked(value, hints[name], key)})  # type: ignore[type-var]


def _nearest_key(key: str) -> str:
    """The nearest dotted keys; a bare last part, such as ``rank``, finds its section."""
    known = keys()
    same = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    return "did you mean " + " or ".join(same) + "?" if same else nearest(key, known)


def _checked(value: Any, hint: Any, key: str) -> Any:
    """``value`` as the type that the field declares, or UsageError."""
    wrong = UsageError(f"{key} = {value!r}: expected {_spell(hint)}", "--print-config shows every setting")
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if types.NoneType in options and value in (None, "none"):
            return None  # before a word: none is how TOML says it here
        for option in options:
            try:
                return _checked(value, option, key)
            except UsageError:
                continue
        raise wrong
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong
        try:
            return tuple(_checked(item, typing.get_args(hint)[0], key) for item in value)
        except UsageError:
            raise wrong from None
    if hint is types.NoneType:
        if value is None or value == "none":
            return None
        raise wrong
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise wrong
    if hint is float and math.isnan(value):
        raise wrong
    return value


def _spell(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        types.NoneType: "none",
    }
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list of {_spell(typing.get_args(hint)[0])}"
    return names.get(hint, str(hint))


def _line(key: str, value: Any) -> str:
    return f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
