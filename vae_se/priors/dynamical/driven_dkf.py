"""Deep Kalman filter in driven mode: speech activity is a known input of the transition."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch.nn import functional

from ...errors import UsageError
from ...signal_spec import SignalSpec
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

    ``lag``: frames by which the activity is delayed. With the default 0, u_n is a function of s_n itself in
    ``reconstruct`` and ``log_weight``. So the bounds are on log p(s | u), and not on log p(s): over all s, p(s
    | u(s)) does not integrate to 1. With 1 or more, u_n is a function of s_1..n-1, one more way in which a
    frame depends on the past of the speech, and the bounds are on log p(s).
    """

    takes_activity = True
    summary = "A deep Kalman filter with speech activity as input"
    caution = (
        "The input u, the speech activity, is computed from the speech itself, without a `lag` from the "
        "current frame. Then the negative ELBO bounds -log p(s | u), not -log p(s): do not compare it with "
        "that of other priors."
    )
    drive: torch.Tensor | None = None

    inputs = 1

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        hidden_size: int = 128,
        activation: str = "silu",
        cell: str = "gru",
        chained: bool = True,
        lag: int = 0,
        signal: SignalSpec | None = None,
    ) -> None:
        if not isinstance(lag, int) or lag < 0:
            raise UsageError(f"lag = {lag!r} of a prior", "it is a whole number, 0 or more")
        self.lag = lag
        super().__init__(hidden, latent_dim, hidden_size, activation, cell, chained, signal)

    def activity(self, power: torch.Tensor) -> torch.Tensor:
        """u (..., N, 1) for speech power (..., N, F): a logistic function of a frame's level in dB.

        That of ``lag`` frames before; 0 in the first ``lag`` frames.
        """
        level = 10 / math.log(10) * torch.log(power.mean(-1, keepdim=True) + 1e-10)
        activity = torch.sigmoid((level - THRESHOLD_DB) / SLOPE_DB)
        return functional.pad(activity, (0, 0, self.lag, 0))[..., : power.shape[-2], :]

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

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"lag": self.lag}
