"""Priors that are driven by a track of voice activity, such as ``dkf-driven``."""

from __future__ import annotations

from typing import Protocol, cast

import torch

from ..priors.base import SpeechPrior


class DrivenPrior(SpeechPrior, Protocol):
    """What a prior with ``takes_activity`` has besides the methods of every prior."""

    def activity(self, power: torch.Tensor) -> torch.Tensor:
        """Voice activity (B, N, U) of speech power (B, N, F)."""

    def driven_by(self, drive: torch.Tensor) -> SpeechPrior:
        """The same prior, driven by the activity ``drive`` (B, N, U)."""


def activity_for(prior: SpeechPrior, power: torch.Tensor) -> torch.Tensor | None:
    """Voice activity (B, N, U) of speech power (B, N, F) for a prior that takes it, else None."""
    return cast(DrivenPrior, prior).activity(power) if prior.takes_activity else None


def driven(prior: SpeechPrior, activity: torch.Tensor | None) -> SpeechPrior:
    """``prior`` driven by ``activity``, or as it is if there is none."""
    return prior if activity is None else cast(DrivenPrior, prior).driven_by(activity)
