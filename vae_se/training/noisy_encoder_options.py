"""Options of the training of a noisy encoder."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

from ..config import parse_value
from ..deprecated import current_name
from ..errors import UsageError, nearest
from ..priors.store import RENAMED_KEYWORDS
from .recipes import check_type


@dataclasses.dataclass(frozen=True)
class NoisyEncoderOptions:
    """Network and training of a noisy encoder: the keys of ``--set``.

    steps, batch        number of steps, and mixtures per step
    seconds             length of a mixture in seconds
    width, hidden_size  of the network (noisy_encoder/network.py)
    causal              the output of a frame depends on the frames up to it only
    learning_rate       of AdamW, the highest of the schedule (schedule.py)
    warmup_steps        steps of linear increase of the learning rate
    clip_norm           bound on the norm of the gradient
    noise_weight        weight of the noise's log-likelihood relative to the ELBO of the speech
    every               steps between two validations, each with a checkpoint
    """

    steps: int = 4000
    batch: int = 16
    seconds: float = 4.0
    width: int = 256
    hidden_size: int = 128
    causal: bool = False
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 200.0
    noise_weight: float = 1.0
    every: int = 200

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name not in ("causal", "warmup_steps", "noise_weight") and not value > 0:
                raise UsageError(f"{name} = {value}", "it must be above zero")

    @classmethod
    def of(cls, settings: Sequence[str]) -> NoisyEncoderOptions:
        """From ``key=value`` strings; UsageError for an unknown key, with the nearest, or a wrong type.

        >>> NoisyEncoderOptions.of(["steps=9", "causal=true"]).steps
        9
        """
        hints, values = typing.get_type_hints(cls), {}
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise UsageError(f"--set {setting}", "expected key=value, such as steps=1000")
            key = current_name(key, RENAMED_KEYWORDS)
            if key not in hints:
                raise UsageError(f"unknown key {key!r}", nearest(key, hints))
            values[key] = parse_value(text.strip())
            check_type(key, values[key], hints[key])
        return cls(**values)
