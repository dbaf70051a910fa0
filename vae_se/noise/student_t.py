"""Student-t noise: few, strong outliers of a low-rank scale."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from .base import NOISES
from .heavy import HeavyTailed, ImpulseState
from .multiplicative import draw_weight


@NOISES.add("student-t")
@dataclasses.dataclass(frozen=True)
class StudentT(HeavyTailed):
    """b_fn complex Student-t with ``dof`` nu and scale (W H)_fn: its tails fall as |b|^-(nu + 2).

    As a Gaussian scale mixture, b | phi ~ N_c(0, phi W H) with phi ~ inverse-gamma(nu / 2, nu / 2). phi is
    not drawn: under q(z, b) q(phi) its posterior is inverse-gamma(nu / 2 + 1, nu / 2 + E|b|^2 / (W H)), and all
    that the rest of the loop sees of it is 1 / E[1 / phi] (derived in docs/noise.md).

    Yoshii, Itoyama and Goto, Student's t nonnegative matrix factorization and positive semidefinite tensor
    factorization for single-channel audio source separation, 2016, for the distribution and its role; the
    variational update beside speech is ours.
    """

    dof: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dof > 0:
            raise UsageError(f"{self.dof} degrees of freedom", "noise.dof is above 0")

    def update(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> ImpulseState:
        """The impulses, then W and H."""
        noise = self.variance(state)
        share = noise.unsqueeze(1) / (speech_variance + noise.unsqueeze(1))
        second = share * (share * power.unsqueeze(1) + speech_variance)
        ratio = (draw_weight(log_weight, mask) * second).sum(1) * state.impulse / noise
        phi = (self.dof + 2 * ratio) / (self.dof + 2)
        return super().update(ImpulseState(state.scale, phi), power, speech_variance, log_weight, mask)
