"""Priors that are driven by a track of voice activity, such as ``dkf-driven``."""

from __future__ import annotations

import torch

from ..priors.base import SpeechPrior


def activity_for(prior: SpeechPrior, power: torch.Tensor) -> torch.Tensor | None:
    """Voice activity (B, N, U) of speech power (B, N, F) for a prior that takes it, else None."""
    return prior.activity(power) if prior.takes_activity else None


def driven(prior: SpeechPrior, activity: torch.Tensor | None) -> SpeechPrior:
    """``prior`` driven by ``activity``, or as it is if there is none."""
    return prior if activity is None else prior.driven_by(activity)
