"""Options of the training of a noisy encoder."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..config_values import Range, checked, in_range, parse_value, setting, spell
from ..deprecated import current_name
from ..errors import UsageError, nearest
from ..noisy_encoder.store import ARCHITECTURES, AnyNoisyEncoder
from ..priors.store import RENAMED_KEYWORDS
from .noisy_encoder_loss import LossWeights

#: Optimisers by name; see optimisers.py.
OPTIMISERS = ("muon", "adamw")

_COUNT = Range(1, 10**9)
_SIZE = Range(1, 4096)
_WEIGHT = Range(0, 1e6)

#: Keys that belong to one architecture only.
_OWN_KEYS = {
    "hidden_size": "recurrent",
    "channels": "convolutional",
    "blocks": "convolutional",
    "noise_aware": "convolutional",
    "noise_width": "convolutional",
}

#: Keys of which the first steps of a training are independent; a checkpoint may continue with other values.
_LENGTH_KEYS = ("steps", "decay")


@dataclasses.dataclass(frozen=True)
class NoisyEncoderOptions:
    """Network and training of a noisy encoder: the keys of ``--set``. Each field has its meaning and range."""

    architecture: str = setting(
        "convolutional", f"The network: {' or '.join(sorted(ARCHITECTURES))} (docs/noisy-encoder.md)."
    )
    width: int = setting(192, "Units per frame of the blocks over time, or of the projection.", range=_SIZE)
    channels: int = setting(16, "Channels of the first convolution (convolutional).", range=_SIZE)
    blocks: int = setting(8, "Residual blocks over time (convolutional).", range=Range(1, 256))
    hidden_size: int = setting(128, "Units per direction of the recurrent layers (recurrent).", range=_SIZE)
    causal: bool = setting(False, "The output of a frame depends on the frames up to it only.")
    noise_aware: bool = setting(
        False, "Whether the network also sees the variances that EM has found (convolutional)."
    )
    noise_width: bool = setting(
        False, "Whether the network also has a width of the noise's variance (convolutional)."
    )
    only_noise_width: bool = setting(
        False, "Train that width alone; all other outputs stay those of `start` (convolutional)."
    )
    again_every: int = setting(
        1, "Steps from one on which a noise-aware network is asked twice to the next.", range=_COUNT
    )
    start: str = setting("", "Folder of a noisy encoder to start from; blocks that it lacks are added to it.")
    steps: int = setting(8000, "Number of steps; it may change when a training is continued.", range=_COUNT)
    batch: int = setting(8, "Mixtures per step.", range=Range(1, 65536))
    seconds: float = setting(4.0, "Length of a mixture.", "s", range=Range(0, 600, above=True))
    optimiser: str = setting("muon", "muon (for matrices; AdamW for the rest) or adamw.")
    learning_rate: float = setting(3e-3, "Of both, between warm-up and decay.", range=Range(0, 1, above=True))
    warmup_steps: int = setting(
        100, "Steps of linear increase of the learning rate, at most a tenth of all.", range=Range(0, 10**9)
    )
    decay: float = setting(
        0.6, "Last part of the steps, in which the learning rate falls linearly to 0.", range=Range(0, 1)
    )
    clip_norm: float = setting(
        200.0, "Bound on the norm of the gradient.", range=Range(0, math.inf, above=True)
    )
    average: float = setting(
        0.998, "Decay per step of the moving average of the weights, which is what is kept; 0: none.",
        range=Range(0, 1, below=True),
    )  # fmt: skip
    noise_weight: float = setting(1.0, "Weight of the noise's log-likelihood.", range=_WEIGHT)
    filter_weight: float = setting(4000.0, "Weight of the filter's distance to the speech.", range=_WEIGHT)
    sdr_weight: float = setting(30.0, "Weight of the filter's SDR.", "nats per dB", range=_WEIGHT)
    every: int = setting(
        200, "Steps between two validations, each with a checkpoint and an export.", range=_COUNT
    )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = checked(getattr(self, field.name), hints[field.name], field.name)
            in_range(value, field.metadata["range"], field.name)
        if self.only_noise_width and not (self.noise_width and self.start):
            raise UsageError("only_noise_width", "add noise_width=true and start=FOLDER, a trained network")
        choices: dict[str, Collection[str]] = {"architecture": ARCHITECTURES, "optimiser": OPTIMISERS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"unknown {name} {getattr(self, name)!r}", nearest(getattr(self, name), known))

    @classmethod
    def of(cls, settings: Sequence[str]) -> NoisyEncoderOptions:
        """From ``key=value`` strings.

        Raises UsageError for an unknown key, with the nearest, a value of the wrong type or outside its range,
        and a key of another architecture than the chosen one.

        >>> NoisyEncoderOptions.of(["steps=9", "causal=true"]).steps
        9
        """
        hints, values = typing.get_type_hints(cls), {}
        for text in settings:
            key, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--set {text}", "expected key=value, such as steps=1000")
            key = current_name(key, RENAMED_KEYWORDS)
            if key not in hints:
                raise UsageError(f"unknown key {key!r}", nearest(key, hints))
            values[key] = checked(parse_value(value.strip()), hints[key], key)
        options = cls(**values)
        for key in values:
            if _OWN_KEYS.get(key, options.architecture) != options.architecture:
                raise UsageError(
                    f"the {options.architecture} network has no {key}", f"add architecture={_OWN_KEYS[key]}"
                )
        return options

    @classmethod
    def meanings(cls) -> Iterator[tuple[str, str]]:
        """Each key, and its meaning with type, unit and range in words."""
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            unit, interval = field.metadata["unit"], field.metadata["range"]
            words = [spell(hints[field.name]) + (f" ({unit})" if unit else "")]
            words += [str(interval)] if interval else []
            kind = ", ".join(words)
            yield field.name, f"{field.metadata['help']} {kind[0].upper()}{kind[1:]}."

    def given(self) -> list[str]:
        """The ``key=value`` strings of all values that are not the default."""
        return [
            f"{field.name}={str(value).lower() if isinstance(value, bool) else value}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        ]

    def network(self, bins: int, latent_dim: int) -> AnyNoisyEncoder:
        """An untrained network for ``bins`` and ``latent_dim`` of a prior."""
        others = {key for key, kind in _OWN_KEYS.items() if kind != self.architecture}
        sizes = {key: getattr(self, key) for key in ("width", *_OWN_KEYS, "causal") if key not in others}
        return ARCHITECTURES[self.architecture](bins, latent_dim, **sizes)

    def weights(self) -> LossWeights:
        """Weights of the terms of the loss."""
        return LossWeights(self.noise_weight, self.filter_weight, self.sdr_weight)

    def identity(self) -> dict[str, Any]:
        """The options that a checkpoint must have in common with the training that continues it: all but the
        length and the decay, so that a training may be prolonged or ended early."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in _LENGTH_KEYS}
