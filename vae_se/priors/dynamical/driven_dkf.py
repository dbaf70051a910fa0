"""Deep Kalman filter in driven mode: speech activity is a known input of the transition."""

from __future__ import annotations

import copy
import math
from typing import Self

import torch

from ..base import PRIORS
from .base import Transition
from .dkf import DKF

#: Frame power at which the activity is one half, in dB relative to the active level; width of the logistic in
#: dB.
THRESHOLD_DB, SLOPE_DB = -25.0, 3.0


@PRIORS.add("dkf-driven")
class DrivenDKF(DKF):
    """s_n given z_n, z_n given z_{n-1} and the input u_n in [0, 1]; q as in ``dkf``.

    The driven mode of the review, ch. 4: the model has a known input u_1..N. Here u_n is speech activity: in
    training that of the speech, in enhancement that of the recording less the initial noise estimate (EM calls
    :meth:`activity` and :meth:`driven_by`). Without an input, u_n = 1: speech in all frames.

    In ``reconstruct`` and ``log_weight``, u_n is a function of s_n itself. So the bounds are on log p(s | u),
    and not on log p(s): over all s, p(s | u(s)) does not integrate to 1.
    """

    takes_activity = True
    summary = "A deep Kalman filter with speech activity as input"
    caution = (
        "The input u, the speech activity, is computed from the speech itself, the current frame included. So "
        "the negative ELBO bounds -log p(s | u), not -log p(s): do not compare it with that of other priors."
    )
    drive: torch.Tensor | None = None

    inputs = 1

    @staticmethod
    def activity(power: torch.Tensor) -> torch.Tensor:
        """u (..., N, 1) for speech power (..., N, F): a logistic function of each frame's level in dB."""
        level = 10 / math.log(10) * torch.log(power.mean(-1, keepdim=True) + 1e-10)
        return torch.sigmoid((level - THRESHOLD_DB) / SLOPE_DB)

    def driven_by(self, drive: torch.Tensor) -> Self:
        """The same model (with shared weights), conditioned on u = ``drive`` (B, N, 1)."""
        driven = copy.copy(self)
        driven.drive = drive
        return driven

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; u is the activity of the speech."""
        power = torch.exp(features * self.log_power_std + self.log_power_mean)
        return self.with_inputs(z, self.activity(power))

    def without_speech(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """All steps at once; u is the input set by :meth:`driven_by`."""
        return self.with_inputs(z, self.drive_of(z))

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """The input u (M, N, 1), repeated for each draw; 1 where none is set."""
        if self.drive is None:
            return torch.ones_like(z[..., :1])
        return self.drive.repeat_interleave(len(z) // len(self.drive), 0).to(z)
