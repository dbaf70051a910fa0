"""Posterior moments of the speech from weighted draws."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import frame_blocks
from .draws import Draws
from .target import Target


@dataclasses.dataclass
class FilterMoments:
    """Running sums over E-steps of the moments of the Wiener filter, each (B, N, F).

    Given z, s | x, z is complex Gaussian with mean m x, m = g v / (g v + n), and variance m n. Over draws:
    E[s | x] = x sum_r w_r m_r, and by the law of total variance
    Var[s | x] = sum_r w_r m_r n + |x|^2 (sum_r w_r m_r^2 - (sum_r w_r m_r)^2).

    Leglaive, Girin and Horaud, 2018, eq. 18, with weights; the variance is ours.
    """

    first: torch.Tensor
    second: torch.Tensor
    within: torch.Tensor
    steps: int = 0

    @classmethod
    def none(cls, power: torch.Tensor) -> FilterMoments:
        """No step added; ``power`` is that of the recording."""
        return cls(torch.zeros_like(power), torch.zeros_like(power), torch.zeros_like(power))

    def add(self, target: Target, samples: Draws) -> None:
        """Add the draws of one E-step."""
        weight = samples.log_weight.exp().unsqueeze(-1)
        for frames in frame_blocks(samples.log_variance):
            part = target.at(frames)
            speech = part.speech_variance(samples.log_variance[:, :, frames])
            share = speech.div_(speech + part.noise.unsqueeze(1))
            weighted = weight[:, :, frames] * share
            mean = weighted.sum(1)
            self.first[:, frames] += mean
            # The noise may change from one E-step to the next, where it has hidden variables of its own.
            self.within[:, frames] += mean.mul_(part.noise)
            self.second[:, frames] += weighted.mul_(share).sum(1)
        self.steps += 1

    def mean(self) -> torch.Tensor:
        """The gain of the posterior mean: E[s | x] = x * mean."""
        return self.first / self.steps

    def variance(self, target: Target) -> torch.Tensor:
        """Var[s | x], in the units of the power."""
        spread = self.second / self.steps - self.mean().square()
        return self.within / self.steps + target.power * spread.clamp(min=0)
