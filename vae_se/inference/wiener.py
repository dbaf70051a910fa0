"""Posterior moments of the speech from weighted draws."""

from __future__ import annotations

import dataclasses

import torch

from .particles import Samples
from .target import Target


@dataclasses.dataclass
class FilterMoments:
    """Running sums over E-steps of the moments of the Wiener filter, each (B, N, F).

    Given z, s | x, z is complex Gaussian with mean m x, m = g v / (g v + n), and variance m n. Over draws:
    E[s | x] = x sum_r w_r m_r, and by the law of total variance
    Var[s | x] = sum_r w_r m_r n + |x|^2 (sum_r w_r m_r^2 - (sum_r w_r m_r)^2).

    Leglaive, Girin and Horaud, 2018, eq. 18, with weights; the variance is ours.
    """

    first: torch.Tensor | float = 0.0
    second: torch.Tensor | float = 0.0
    within: torch.Tensor | float = 0.0
    steps: int = 0

    def add(self, target: Target, samples: Samples) -> None:
        """Add the draws of one E-step."""
        speech = target.speech_variance(samples.log_variance)
        share = speech.div_(speech + target.noise.unsqueeze(1))
        weight = samples.log_weight.exp()
        mean = torch.einsum("brn,brnf->bnf", weight, share)
        self.first = self.first + mean
        # The noise may change from one E-step to the next, where it has hidden variables of its own.
        self.within = self.within + mean * target.noise
        self.second = self.second + torch.einsum("brn,brnf->bnf", weight, share.square_())
        self.steps += 1

    def mean(self) -> torch.Tensor:
        """The gain of the posterior mean: E[s | x] = x * mean."""
        return torch.as_tensor(self.first) / self.steps

    def variance(self, target: Target) -> torch.Tensor:
        """Var[s | x], in the units of the power."""
        mean = self.mean()
        spread = torch.as_tensor(self.second) / self.steps - mean.square()
        return torch.as_tensor(self.within) / self.steps + target.power * spread.clamp(min=0)
