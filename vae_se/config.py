"""Every setting of the enhancer as one frozen tree, from presets, TOML files and ``--set a.b=value``.

No torch here: the command line reads settings before it loads anything heavy. Names (of an E-step, a noise
model) are resolved in the registries by :mod:`vae_se.assemble`. Parsing and checking of values is in
:mod:`vae_se.config_values`. docs/settings.md is generated from the fields below.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .config_values import Range, checked, flatten, in_range, parse_value, setting, spell, toml_line
from .deprecated import current_name
from .errors import UsageError, nearest

__all__ = [
    "BANDS",
    "METHODS",
    "PRESETS",
    "RENAMED_KEYS",
    "TEXTBOOK",
    "Config",
    "EStepConfig",
    "GainConfig",
    "InferenceConfig",
    "NoiseConfig",
    "OutputConfig",
    "effective",
    "flatten",
    "keys",
    "parse_value",
]

D = TypeVar("D")

# Ranges that several settings share. Values beyond them take all memory, or give numbers that are not finite.
_COUNT = Range(1, 10_000)
_ITERATIONS = Range(1, 100_000)
_RANK = Range(1, 1024)
_WEIGHT = Range(0, 1e6)
_INSIDE = Range(0, 1, above=True, below=True)
_SECONDS = Range(0, 1e6, above=True)

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
    "inference.decoder_precision": "inference.precision",
}


@dataclasses.dataclass(frozen=True)
class EStepConfig:
    """The E-step: a kernel that draws the latents from their posterior (vae_se/inference/estep).

    None leaves a setting at the kernel's own default. A setting that the kernel does not have is an error.
    """

    name: str = setting("vem", "Kernel of the E-step; docs/inference.md lists them.")
    draws: int | None = setting(
        None,
        "Draws of the latents per frame, R: of a Gaussian, importance samples, or parallel chains.",
        range=_COUNT,
    )
    steps: int | None = setting(None, "Gradient steps per E-step.", range=_COUNT)
    learning_rate: float | None = setting(
        None,
        "Step size of Adam; for `vem-full` and `vem-is` the part of the Newton step that is taken.",
        range=Range(0, 10, above=True),
    )
    sweeps: int | None = setting(None, "Proposals per chain and E-step.", range=_COUNT)
    step_size: float | None = setting(
        None,
        "Standard deviation of the first proposals; relative to the posterior's for `vem-mh`, `precondition`.",
        range=Range(0, 100, above=True),
    )
    target_acceptance: float | None = setting(
        None, "Acceptance rate that the step size is adapted to.", range=_INSIDE
    )
    adaptation: int | None = setting(
        None,
        "E-steps during which the proposal adapts; it is frozen afterwards, and in any case while averaging.",
        "E-steps",
        range=_ITERATIONS,
    )
    refresh: bool | None = setting(
        None, "Whether the encoder that proposes is evaluated again at the speech as last estimated."
    )
    warmup: int | None = setting(
        None, "E-steps by `vem-full` before the chains start.", "E-steps", range=_ITERATIONS
    )
    precondition: bool | None = setting(
        None, "Whether proposals have the covariance of a Gauss-Newton approximation of the posterior."
    )
    total_variation: float | None = setting(
        None,
        "Weight of a penalty on the differences between the latents of neighbouring frames; 0: none.",
        range=_WEIGHT,
    )


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """The noise model and its initialisation (vae_se/noise).

    None leaves a setting at the model's own default. A setting that the model does not have is an error.
    """

    name: str = setting("nmf", "Noise model; docs/noise.md derives them.")
    rank: int | None = setting(
        None, "Rank K of the factorisation W H: the number of noise spectra.", range=_RANK
    )
    init_spectrum: str = setting(
        "quiet",
        "Spectrum at which W starts: `quiet` (the power that a bin exceeds in four frames of five), "
        "`log-mean`, `tracked` (mean of an MMSE noise tracker) or `mean`.",
    )
    init_scale: float = setting(2.0, "Factor on the power of that spectrum.", range=Range(1e-6, 1e6))
    init_jitter: float = setting(
        0.8, "W and H start multiplied by uniform random numbers in 1 - jitter to 1 + jitter.", range=_INSIDE
    )
    file: str | None = setting(None, "File of fixed noise spectra, made by `vae-se noise fit`.")
    noise_segment: str | None = setting(
        None,
        "Part of the recording that holds noise alone, such as 0:00-0:02.5, from which spectra are learnt.",
    )
    free: int | None = setting(
        None,
        "Spectra learnt beside the fixed ones; none: 0 with `file`, 2 with `noise_segment`.",
        range=Range(0, 1024),
    )
    sparsity: float | None = setting(None, "Weight of an exponential prior on H; 0: none.", range=_WEIGHT)
    smoothness: float | None = setting(
        None,
        "Weight of the Itakura-Saito divergence between activations of neighbouring frames; 0: none.",
        range=_WEIGHT,
    )
    relevance: float | None = setting(
        None,
        "Weight of automatic relevance determination on H, which switches spectra off; 0: none.",
        range=_WEIGHT,
    )
    gamma: float | None = setting(
        None,
        "Weight of a gamma prior on W around the spectrum of `init_spectrum`; 0: none.",
        "frames",
        range=_WEIGHT,
    )
    inverse_gamma: float | None = setting(
        None, "Weight of an inverse-gamma prior on W around that spectrum; 0: none.", "frames", range=_WEIGHT
    )
    exponent: float | None = setting(
        None,
        "Exponent of the multiplicative updates, 0.5 (majorise-minimise) to 1 (longer steps).",
        range=Range(0.5, 1),
    )
    margin: float | None = setting(
        None,
        "By how much an impulse must raise a frame's log-likelihood to be accepted at the start.",
        "nats",
        range=Range(0, 1e6),
    )
    dof: float | None = setting(
        None, "Degrees of freedom of the Student-t distribution.", range=Range(0, 1e6, above=True)
    )
    alpha: float | None = setting(
        None,
        "Characteristic exponent of the alpha-stable distribution, 0 to 2.",
        range=Range(0, 2, above=True, below=True),
    )
    sweeps: int | None = setting(
        None, "Metropolis-Hastings moves of the impulse variables per iteration.", range=_COUNT
    )


@dataclasses.dataclass(frozen=True)
class GainConfig:
    """The gain g of the speech (vae_se/inference/gain.py)."""

    kind: str = setting("frame", "`frame` (one gain per frame), `file` (one per recording) or `fixed` (1).")
    concentration: float = setting(
        5.0, "Concentration of the gamma prior on the gain, whose mode is 1; 0: no prior.", range=_WEIGHT
    )


@dataclasses.dataclass(frozen=True)
class InferenceConfig:
    """The EM loop, its initialisation, and the segments of a long recording."""

    iterations: int | None = setting(
        None,
        "Iterations of EM (E-step, then M-step); none: 10, or 3 of `vem` from a noisy encoder's start.",
        range=Range(0, 100_000),
    )
    averaging: int | None = setting(
        None,
        "E-steps after the last iteration whose draws the filter averages over; none: 4, or 2 of `vem` from a "
        "noisy encoder's start.",
        range=_ITERATIONS,
    )
    encoder_floor: float = setting(
        0.05,
        "Without a noisy encoder, the encoder's input is the power minus the initial noise, and at least this "
        "part of the power.",
        range=Range(0, 1, above=True),
    )
    pause_db: float = setting(
        0.0,
        "Further attenuation of frames in which the model finds noise only; 0: off.",
        "dB",
        range=Range(0, math.inf),
    )
    segment: float = setting(
        30.0, "Length of the segments into which longer recordings are cut.", "s", range=_SECONDS
    )
    overlap: float = setting(
        2.0, "Cross-fade between segments; at most a third of `segment`.", "s", range=_SECONDS
    )
    decoder_error: float = setting(
        0.03,
        "How far a cheaper form of the decoder may deviate from it (root mean square over generated spectra); "
        "0: the decoder itself. Not every prior has such a form.",
        "nats",
        range=Range(0, 1000),
    )
    precision: str | None = setting(
        "auto",
        "Type of the factors in the matrix products of decoder and noisy encoder, whose sums stay in float32: "
        "`bfloat16`; `auto`: bfloat16 on CPUs that multiply in it (AMX, AVX-512-BF16); none: float32. Not "
        "every prior has this.",
    )
    noisy_encoder: str | None = setting(
        "auto",
        "Folder of a noisy encoder that gives the initial latents and noise; `auto`: the prior's own, or else "
        "that of the prior `default`, whose estimate of the speech the prior encodes; `causal`: its causal "
        "twin, made for streams, or else the same; none: start from the prior's encoder.",
    )
    asks: int = setting(
        1,
        "How often a noise-aware noisy encoder is asked: before the first iteration, and again, with what EM "
        "has found, after equal parts of the iterations.",
        range=Range(1, 100),
    )
    context_weight: float = setting(
        1.0,
        "Weight of the noisy encoder's q(z), with the variance of its own error, as a prior of the latents; 0: "
        "the prior's own p(z) alone.",
        range=_WEIGHT,
    )
    deviation_weight: float = setting(
        0.5,
        "Power to which the noisy encoder's deviation from the decoder stays a factor of the speech variance "
        "in EM; 0: not at all.",
        range=Range(0, 1),
    )
    encoder_weight: float = setting(
        0.5,
        "Weight of the noisy encoder's own posterior of the speech in the result, against EM's; 0: EM alone.",
        range=Range(0, 1),
    )
    learnt_weight: float = setting(
        0.85,
        "How far the result is moved from that pool of the two towards a gain that was learnt on simulated "
        "mixtures from both; 0: not at all.",
        range=Range(0, 1),
    )
    starts: int = setting(
        1,
        "Number of initialisations; EM continues from the one with the highest bound after a short run.",
        range=Range(1, 100),
    )
    calibrate: bool = setting(
        True,
        "Whether the posterior variance of the speech is calibrated. The estimated speech does not change; the "
        "noise that `output.doubt` keeps may.",
    )


#: Values of ``output.band``.
BANDS = ("full", "8k")


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """How much noise stays in the output. Of the three settings the one that leaves the most applies."""

    atten_lim_db: float = setting(
        math.inf, "Largest attenuation of the noise; inf: no limit.", "dB", range=Range(0, math.inf)
    )
    floor_db: float = setting(
        42.0,
        "The noise is attenuated to this level below the speech and no further; inf: no limit. Clean "
        "recordings stay as they are, and the noise that is left masks artefacts. Not for baselines.",
        "dB",
        range=Range(0, math.inf),
    )
    doubt: float = setting(
        0.7,
        "Gain of the noise that stays where the model's own estimate of the SI-SDR says that it cannot tell "
        "the speech from other voices: all of it from -4 dB down, none from 0 dB up. Not for baselines and "
        "streams.",
        range=Range(0, 1),
    )
    band: str = setting(
        "full",
        "`full`: the whole band of a recording is enhanced; `8k`: the prior's band alone, and what lies above "
        "it counts as noise. Not for baselines.",
    )
    dry: float = setting(
        0.0, "Part of the noise that stays, 0 to 1: a mix with the noisy recording.", range=Range(0, 1)
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings."""

    prior: str = setting("default", "Speech prior: the name of a shipped one, or a folder.")
    method: str = setting(
        "mcem", "`mcem`, `mcem-textbook` (docs/inference.md), or a baseline such as `log-mmse`."
    )
    seed: int = setting(0, "Seed of every random draw.")
    estep: EStepConfig = dataclasses.field(default_factory=EStepConfig)
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    gain: GainConfig = dataclasses.field(default_factory=GainConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    output: OutputConfig = dataclasses.field(default_factory=OutputConfig)

    @classmethod
    def preset(cls, name: str = "default") -> Config:
        """The settings of a preset; UsageError for an unknown one."""
        if name not in PRESETS:
            raise UsageError(f"unknown preset {name!r}", nearest(name, PRESETS))
        return cls().override(PRESETS[name])

    @classmethod
    def from_toml(cls, path: str | Path, base: Config | None = None) -> Config:
        """The settings of a TOML file; those that it does not name are taken from ``base`` (the defaults).

        Raises UsageError for a file that does not exist, is not TOML, or has unknown settings.
        """
        try:
            with Path(path).open("rb") as file:
                tree = tomllib.load(file)
        except FileNotFoundError:
            raise UsageError(f"the configuration {path} does not exist", "--print-config writes one") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the configuration {path}: {error}", "it must be TOML") from None
        return (base or cls()).override(flatten(tree))

    def override(self, values: Mapping[str, Any]) -> Config:
        """A copy with dotted keys replaced, such as ``{"estep.draws": 10}``; types and ranges are checked.

        Raises UsageError for an unknown key, naming the nearest, or for a value of another type or range.
        """
        out = self
        for key, value in values.items():
            key = current_name(key, RENAMED_KEYS)
            out = _replace(out, key.split("."), value, key)
        return out

    def set(self, *assignments: str) -> Config:
        """A copy with assignments ``a.b=value`` made; a value is TOML or a bare word."""
        values: dict[str, Any] = {}
        for assignment in assignments:
            key, equals, text = (part.strip() for part in assignment.partition("="))
            if key in keys() and not text:
                hint = f"write {key}=VALUE: {described(key)}"
                raise UsageError(f"{assignment!r} has no value", hint)
            if not equals or not key:
                raise UsageError(
                    f"{assignment!r} is not a setting", "write key=value, for example inference.iterations=100"
                )
            values[key] = parse_value(text)
        return self.override(values)

    def flat(self) -> dict[str, Any]:
        """Dotted keys to values."""
        return flatten(dataclasses.asdict(self))

    def to_toml(self) -> str:
        """The settings as TOML that :meth:`from_toml` reads back to an equal object."""
        top, tables = [], []
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, dict):
                tables += ["", f"[{name}]"] + [toml_line(k, v) for k, v in value.items()]
            else:
                top.append(toml_line(name, value))
        return "\n".join(top + tables) + "\n"


#: Presets as data: dotted keys over the defaults. ``default`` is what the dataclasses say.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"inference.iterations": 1, "inference.averaging": 1},
    "default": {},
    # A prior with memory, with more iterations and draws of smaller steps (docs/dynamical.md).
    "best": {
        "prior": "latent-rnn",
        "estep.draws": 2,
        "estep.learning_rate": 0.1,
        "inference.iterations": 16,
        "inference.averaging": 8,
    },
}


#: Methods that the enhancer itself runs; all other names are baselines.
METHODS = ("mcem", "mcem-textbook")

#: What ``mcem-textbook`` sets, where a setting has its default: MCEM as in Leglaive, Girin and Horaud, A
#: variance modeling framework based on variational autoencoders for speech enhancement, 2018.
TEXTBOOK: dict[str, Any] = {
    "estep.name": "mh",
    "noise.rank": 10,
    "noise.init_spectrum": "mean",
    "noise.init_scale": 1.0,
    "noise.exponent": 0.5,
    "gain.concentration": 0.0,
    "inference.noisy_encoder": None,
    "inference.encoder_floor": 1.0,
    "inference.iterations": 100,
    "inference.averaging": 25,
    "output.floor_db": math.inf,
    "output.doubt": 0.0,
    "output.band": "8k",
}


def effective(config: Config) -> Config:
    """The settings that a run uses: with TEXTBOOK for the method ``mcem-textbook``.

    >>> effective(Config(method="mcem-textbook")).estep.name
    'mh'
    """
    if config.method != "mcem-textbook":
        return config
    given, defaults = config.flat(), Config().flat()
    return config.override({key: value for key, value in TEXTBOOK.items() if given[key] == defaults[key]})


def keys() -> list[str]:
    """All dotted keys, sorted."""
    return sorted(_leaves(Config, ""))


def described(key: str) -> str:
    """Type, unit and range of the setting ``key`` in words.

    >>> described("noise.rank")
    'a whole number or none, 1 to 1024'
    """
    *section, name = key.split(".")
    cls: Any = typing.get_type_hints(Config)[section[0]] if section else Config
    unit, interval = (_metadata(cls, name)[part] for part in ("unit", "range"))
    words = [spell(typing.get_type_hints(cls)[name]) + (f" ({unit})" if unit else "")]
    return ", ".join(words + ([str(interval)] if interval else []))


def meaning(key: str) -> str:
    """The sentence that explains the setting ``key``."""
    *section, name = key.split(".")
    cls: Any = typing.get_type_hints(Config)[section[0]] if section else Config
    return str(_metadata(cls, name)["help"])


def _metadata(cls: type, name: str) -> Mapping[str, Any]:
    """What the field ``name`` was declared with."""
    (found,) = (field for field in dataclasses.fields(cls) if field.name == name)
    return found.metadata


def _leaves(cls: type, prefix: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from _leaves(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield prefix + name


def _replace(node: D, path: list[str], value: Any, key: str) -> D:
    """A copy of the dataclass ``node`` with the field at ``path`` replaced; ``key`` is for error messages."""
    hints = typing.get_type_hints(type(node))
    name, rest = path[0], path[1:]
    section = dataclasses.is_dataclass(hints.get(name))
    if name not in hints or section != bool(rest):
        raise UsageError(f"unknown setting {key!r}", _nearest_key(key))
    if section:
        return dataclasses.replace(node, **{name: _replace(getattr(node, name), rest, value, key)})  # type: ignore[type-var]
    value = in_range(checked(value, hints[name], key), _metadata(type(node), name)["range"], key)
    return dataclasses.replace(node, **{name: value})  # type: ignore[type-var]


def _nearest_key(key: str) -> str:
    """A hint with the nearest keys; a bare last part, such as ``rank``, is found in its section."""
    if key == "preset":
        return "a preset is not a setting: give --preset NAME, in Python preset=NAME"
    known = keys()
    same = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    if same:
        return "did you mean " + " or ".join(same) + "?"
    return hint if (hint := nearest(key, known)).startswith("did you") else "--print-config shows every setting"
