"""Deep Kalman filter in driven mode: a known track of voice activity steers the state."""

from __future__ import annotations

import copy
import math

import torch

from ..base import PRIORS
from .base import Transition
from .dkf import DKF

#: Mean power of a frame, in dB of the active level, at which activity is one half; width of the logistic in dB.
THRESHOLD_DB, SLOPE_DB = -25.0, 3.0


@PRIORS.add("dkf-driven")
class DrivenDKF(DKF):
    """s_n given z_n, z_n given z_{n-1} and the input u_n in [0, 1]; q as in ``dkf``.

    The review's driven mode (sec. 4.1: an input u_1..N of the model that is known). Here u_n is voice activity:
    in training that of the speech itself, in enhancement that of the recording less the noise it starts with
    (the loop calls :meth:`activity` and :meth:`driven_by`). A model that nobody drives takes it that somebody
    speaks all the time.
    """

    takes_activity = True
    summary = "A deep Kalman filter, driven by voice activity,"
    drive: torch.Tensor | None = None

    inputs = 1

    @staticmethod
    def activity(power: torch.Tensor) -> torch.Tensor:
        """u (..., N, 1) of speech power (..., N, F) at the prior's level: a logistic of each frame's level."""
        level = 10 / math.log(10) * torch.log(power.mean(-1, keepdim=True) + 1e-10)
        return torch.sigmoid((level - THRESHOLD_DB) / SLOPE_DB)

    def driven_by(self, drive: torch.Tensor) -> DrivenDKF:
        """The same model (its weights are shared) with u (B, N, 1) known to what has no speech to hear."""
        driven = copy.copy(self)
        driven.drive = drive
        return driven

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; u is the activity of the speech itself."""
        power = torch.exp(features * self.log_power_std + self.log_power_mean)
        return self.steered(z, self.activity(power))

    def unheard(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """All steps at once; u is what drives the model."""
        return self.steered(z, self.drive_of(z))

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """What drives the model, for every draw."""
        if self.drive is None:
            return torch.ones_like(z[..., :1])
        return self.drive.repeat_interleave(len(z) // len(self.drive), 0).to(z)
