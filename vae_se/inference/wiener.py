"""Posterior moments of the speech from weighted draws: the Wiener filter, averaged over the latents."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import frame_blocks
from ..threads import each
from .draws import Draws
from .target import Target


@dataclasses.dataclass(frozen=True)
class FilterMoments:
    """Sums over ``steps`` E-steps of moments of the Wiener filter m = g v / (g v + n), each (B, N, F).

    Given z, s is complex Gaussian with mean m x and variance m n. Over draws,
    E[s | x] = x sum_r w_r m_r, and by the law of total variance
    Var[s | x] = sum_r w_r m_r n + |x|^2 (sum_r w_r m_r^2 - (sum_r w_r m_r)^2).

    ``first``: sum_r w_r m_r; ``second``: sum_r w_r m_r^2; ``within``: sum_r w_r m_r n. The sum of two objects
    holds the moments over the draws of both.

    The mean is that of Leglaive, Girin and Horaud, A variance modeling framework based on variational
    autoencoders for speech enhancement, 2018, with weights; the variance is an addition.
    """

    first: torch.Tensor
    second: torch.Tensor
    within: torch.Tensor
    steps: int = 1

    def __add__(self, other: FilterMoments) -> FilterMoments:
        return FilterMoments(
            self.first + other.first,
            self.second + other.second,
            self.within + other.within,
            self.steps + other.steps,
        )

    def at(self, frames: slice) -> FilterMoments:
        """The moments of some of the frames."""
        first, second, within = (values[:, frames] for values in (self.first, self.second, self.within))
        return FilterMoments(first, second, within, self.steps)

    def mean(self) -> torch.Tensor:
        """The filter of the posterior mean: E[s | x] = mean * x."""
        return self.first / self.steps

    def variance(self, power: torch.Tensor) -> torch.Tensor:
        """Var[s | x] in units of ``power`` = |x|^2 (B, N, F)."""
        spread = self.second / self.steps - self.mean().square()
        return self.within / self.steps + power * spread.clamp(min=0)


def filter_moments(target: Target, draws: Draws, before: FilterMoments | None = None) -> FilterMoments:
    """The moments under the draws of one E-step; added to those ``before``, whose tensors are reused."""
    weight = draws.log_weight.exp().unsqueeze(-1)
    if before is None:
        first, second, within = (torch.zeros_like(target.power) for _ in range(3))
    else:
        first, second, within = before.first, before.second, before.within

    def of_block(frames: slice) -> None:
        part = target.at(frames)
        speech = part.speech_variance(draws.log_variance[:, :, frames])
        share = speech.div_(speech + part.noise.unsqueeze(1))
        weighted = weight[:, :, frames] * share
        mean = weighted.sum(1)
        first[:, frames] += mean
        within[:, frames] += mean.mul_(part.noise)
        second[:, frames] += weighted.mul_(share).sum(1)

    each(of_block, frame_blocks(draws.log_variance))
    return FilterMoments(first, second, within, 1 if before is None else before.steps + 1)
