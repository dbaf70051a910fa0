"""What activations of noise may be held to: few at a time, slow in time, no more atoms than needed."""

from __future__ import annotations

import dataclasses

import torch

from ..numerics import TINY
from .multiplicative import NMFState, _statistics
from .weights import Weights

#: The activation, as a part of the recording's level, at which an atom counts as gone: -60 dB.
_LEAST = 1e-6


def recording_level(power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean power (B,) over the frames that exist."""
    return (power.mean(-1) * mask).sum(-1) / mask.sum(-1)


def least(alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Where alpha / h + beta h + gamma log h has its minimum, alpha and beta above 0."""
    root = torch.sqrt(gamma.square() + 4 * alpha * beta)
    # Of the two forms of the root, the one that does not subtract what is nearly equal.
    return torch.where(gamma > 0, 2 * alpha / (root + gamma), (root - gamma) / (2 * beta))


@dataclasses.dataclass(frozen=True)
class Penalty(Weights):
    """Added to the cost of H (N, K), with W of mean 1; all three at 0 leave it as it is.

    ``sparsity`` l: l sum h / level, level the recording's mean power: an exponential prior.
    ``smoothness`` m: m sum_n d(h_(n-1), h_n), d the Itakura-Saito divergence, which does not depend on scale:
    Fevotte, Majorization-minimization algorithm for smooth Itakura-Saito nonnegative matrix factorization,
    2011, eq. 4. ``relevance`` r: r (N + 1) sum_k log(b + sum_n h_kn / N), which is what an inverse-gamma
    prior on the mean of an atom's exponential activations comes to when that mean is minimised out: Tan and
    Fevotte, Automatic relevance determination in nonnegative matrix factorization with the
    beta-divergence, 2013, eq. 29, for H alone as W is normalised; b is -60 dB of the level.
    """

    sparsity: float = 0.0
    smoothness: float = 0.0
    relevance: float = 0.0

    def cost(self, h: torch.Tensor, power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Its value (B,) for activations (B, N, K)."""
        level = recording_level(power, mask)
        h, there = torch.where(mask.unsqueeze(-1) > 0, h, torch.ones_like(h)), mask.unsqueeze(-1)
        total = self.sparsity * (h * there).sum((1, 2)) / level
        ratio = h[:, :-1] / h[:, 1:]
        total = total + self.smoothness * ((ratio - ratio.log() - 1) * there[:, 1:]).sum((1, 2))
        frames = mask.sum(-1)
        mean = (h * there).sum(1) / frames.unsqueeze(-1)
        return total + self.relevance * (frames + 1) * (mean + _LEAST * level.unsqueeze(-1)).log().sum(-1)

    def update_h(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech: torch.Tensor,
        weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """One majorise-minimise step of the activations (B, N, K), as ``update_h`` of multiplicative.py.

        With the sums a and b of docs/noise.md, each h takes the minimum of
        alpha / h + beta h + gamma log h, first in the even frames and then in the odd ones, so that no two
        neighbours move at once.
        """
        w_t = state.w.transpose(1, 2)
        alpha, beta = torch.zeros_like(state.h), torch.full_like(state.h, TINY)
        for frames, above, below in _statistics(state, power, speech, weight):
            alpha[:, frames] = above @ w_t
            beta[:, frames] += below @ w_t
        alpha *= state.h.square()
        count = mask.sum(-1)[:, None, None]
        level = recording_level(power, mask)[:, None, None]
        mean = (state.h * mask.unsqueeze(-1)).sum(1, keepdim=True) / count
        # The logarithm is concave, hence below its tangent at the present mean.
        beta = beta + self.sparsity / level + self.relevance * (count + 1) / count / (mean + _LEAST * level)
        h = state.h.clamp(min=TINY)
        if not self.smoothness:
            return torch.sqrt(alpha / beta)
        there = mask.unsqueeze(-1)
        has_next = torch.cat([there[:, 1:], torch.zeros_like(there[:, :1])], 1)
        has_previous = torch.cat([torch.zeros_like(there[:, :1]), there[:, :-1]], 1) * there
        gamma = self.smoothness * (has_previous - has_next)
        odd = (torch.arange(h.shape[1], device=h.device) % 2 == 1)[None, :, None]
        for turn in (~odd, odd):
            previous, following = h.roll(1, 1), h.roll(-1, 1)
            up = alpha + self.smoothness * has_previous * previous
            down = beta + self.smoothness * has_next / following
            h = torch.where(turn & (there > 0), least(up, down, gamma).clamp(min=TINY), h)
        return h * there
