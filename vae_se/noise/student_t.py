"""Student-t noise: rare strong outliers around a low-rank scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..errors import UsageError
from .base import NOISES
from .heavy_tailed import HeavyTailed, ImpulseState
from .multiplicative import draw_weight


@NOISES.add("student-t")
@dataclasses.dataclass(frozen=True)
class StudentT(HeavyTailed):
    """b_fn complex Student-t with ``dof`` nu and scale (W H)_fn: its density falls as |b|^-(nu + 2).

    As a Gaussian scale mixture, b | phi ~ N_c(0, phi W H) with phi ~ inverse-gamma(nu / 2, nu / 2). phi is
    not sampled: under q(z, b) q(phi) its posterior is inverse-gamma(nu / 2 + 1, nu / 2 + E|b|^2 / (W H)), and
    the other updates need only 1 / E[1 / phi] (derived in docs/noise.md).

    Yoshii, Itoyama and Goto, Student's t nonnegative matrix factorization and positive semidefinite tensor
    factorization for single-channel audio source separation, 2016, use this distribution for audio; the
    variational update beside a speech prior is this project's.

    Raises UsageError unless ``dof`` is above 0.
    """

    dof: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dof > 0:
            raise UsageError(f"{self.dof} degrees of freedom", "noise.dof is above 0")

    def impulse_quantiles(self, count: int) -> Sequence[float]:
        """Quantiles of inverse-gamma(nu / 2, nu / 2)."""
        from scipy.special import gammainccinv  # here, since the import takes long

        half = self.dof / 2
        return [half / float(gammainccinv(half, (i + 0.5) / count)) for i in range(count)]

    def update(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> ImpulseState:
        """Update phi, then W and H."""
        noise = self.variance(state)
        noise_fraction = noise.unsqueeze(1) / (speech_variance + noise.unsqueeze(1))
        # E|b|^2 given one draw of the speech variance.
        second_moment = noise_fraction * (noise_fraction * power.unsqueeze(1) + speech_variance)
        ratio = (draw_weight(log_weight, mask) * second_moment).sum(1) * state.impulse / noise
        phi = (self.dof + 2 * ratio) / (self.dof + 2)
        return super().update(ImpulseState(state.scale, phi), power, speech_variance, log_weight, mask)
