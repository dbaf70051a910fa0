"""Names and configuration to objects; the only module that knows every registry."""

from __future__ import annotations

import dataclasses
from typing import Any

from .config import Config
from .errors import UsageError
from .inference.em import MonteCarloEM
from .inference.estep import ESTEPS
from .inference.mstep import Gain
from .noise import NOISES

#: Methods that the enhancer itself runs; other names are baselines.
METHODS = ("mcem",)


def build_em(config: Config, prior: Any) -> MonteCarloEM:
    """The EM loop that ``config`` describes, around a loaded prior.

    Raises UsageError for an unknown name, or a setting that the named part does not have.
    """
    return MonteCarloEM(
        prior=prior,
        noise=_part("noise", NOISES[config.noise.name], config.noise),
        estep=_part("estep", ESTEPS[config.estep.name], config.estep),
        gain=Gain(config.gain.kind, config.gain.concentration),
        iterations=config.inference.iterations,
        averaging=config.inference.averaging,
        encoder_floor=config.inference.encoder_floor,
    )


def _part(section: str, cls: Any, settings: Any) -> Any:
    """An object of the dataclass ``cls`` from those settings of its section that are given."""
    given = {k: v for k, v in dataclasses.asdict(settings).items() if k != "name" and v is not None}
    known = {field.name: field.type for field in dataclasses.fields(cls)}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise UsageError(
            f"{settings.name} has no setting {section}.{unknown[0]}", "it has: " + ", ".join(known)
        )
    for key, value in given.items():
        if known[key] == "int" and value < 1:
            raise UsageError(f"{section}.{key} = {value}", "it is at least 1")
    return cls(**given)
