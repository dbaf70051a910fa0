"""Penalties on the activations of noise: sparsity, smoothness over time, and relevance of atoms."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from ..numerics import TINY
from .multiplicative import NMFState, blocks_of, weighted_ratios

#: Activation, relative to the recording's level, at which an atom counts as switched off: -60 dB.
_SWITCHED_OFF = 1e-6


@dataclasses.dataclass(frozen=True)
class PenaltyWeights:
    """Base class of penalties: every field is a weight of 0 or more, and all zeros are false.

    Raises UsageError for a weight below 0.
    """

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise UsageError(f"noise.{name} = {value}", "it is 0 (none) or more")

    def __bool__(self) -> bool:
        return any(vars(self).values())


def recording_level(power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean power (B,) over the valid frames of power (B, N, F).

    >>> power = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    >>> recording_level(power, torch.tensor([[1.0, 0.0]]))
    tensor([2.])
    """
    return (power.mean(-1) * mask).sum(-1) / mask.sum(-1)


def minimiser(alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """The h > 0 that minimises alpha / h + beta h + gamma log h, for alpha and beta above 0, elementwise.

    >>> minimiser(torch.tensor(4.0), torch.tensor(1.0), torch.tensor(0.0))
    tensor(2.)
    """
    root = torch.sqrt(gamma.square() + 4 * alpha * beta)
    # The quadratic formula has two equal forms; each branch uses the one without cancellation.
    return torch.where(gamma > 0, 2 * alpha / (root + gamma), (root - gamma) / (2 * beta))


@dataclasses.dataclass(frozen=True)
class ActivationPenalty(PenaltyWeights):
    """A cost added to the negative log-likelihood of H (N, K), where W has mean 1; all weights 0: no cost.

    ``sparsity`` l: l sum h / level, where level is the recording's mean power: an exponential prior.
    ``smoothness`` m: m sum_n d(h_(n-1), h_n) with d the Itakura-Saito divergence, which is scale-invariant:
    Févotte, Majorization-minimization algorithm for smooth Itakura-Saito nonnegative matrix factorization,
    2011. ``relevance`` r: r (N + 1) sum_k log(b + sum_n h_kn / N). This is the cost that remains when the
    mean of an atom's exponential activations has an inverse-gamma prior and is minimised out: Tan and
    Févotte, Automatic relevance determination in nonnegative matrix factorization with the beta-divergence,
    2013, applied to H alone because W is normalised; b is -60 dB of the level.
    """

    sparsity: float = 0.0
    smoothness: float = 0.0
    relevance: float = 0.0

    def cost(self, h: torch.Tensor, power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The cost (B,) of activations (B, N, K) for power (B, N, F) and mask (B, N)."""
        level = recording_level(power, mask)
        h, valid = torch.where(mask.unsqueeze(-1) > 0, h, torch.ones_like(h)), mask.unsqueeze(-1)
        total = self.sparsity * (h * valid).sum((1, 2)) / level
        ratio = h[:, :-1] / h[:, 1:]
        total = total + self.smoothness * ((ratio - ratio.log() - 1) * valid[:, 1:]).sum((1, 2))
        frames = mask.sum(-1)
        mean = (h * valid).sum(1) / frames.unsqueeze(-1)
        return total + self.relevance * (frames + 1) * (mean + _SWITCHED_OFF * level.unsqueeze(-1)).log().sum(
            -1
        )

    def update_h(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """One majorise-minimise step of the activations (B, N, K), like ``multiplicative.update_h``.

        With the sums a and b of docs/noise.md, each h moves to the minimum of alpha / h + beta h + gamma log h.
        Even frames move first and odd frames second, because smoothness couples neighbouring frames.
        """
        w_t = state.w.transpose(1, 2)
        alpha, beta = torch.zeros_like(state.h), torch.full_like(state.h, TINY)
        for frames in blocks_of(power, weight):
            above, below = weighted_ratios(state, power, speech_variance, weight, frames)
            alpha[:, frames] = above @ w_t
            beta[:, frames] += below @ w_t
        alpha *= state.h.square()
        count = mask.sum(-1)[:, None, None]
        level = recording_level(power, mask)[:, None, None]
        mean = (state.h * mask.unsqueeze(-1)).sum(1, keepdim=True) / count
        # The logarithm is concave, so its tangent at the present mean majorises it.
        relevance = self.relevance * (count + 1) / count / (mean + _SWITCHED_OFF * level)
        beta = beta + self.sparsity / level + relevance
        h = state.h.clamp(min=TINY)
        if not self.smoothness:
            return torch.sqrt(alpha / beta)
        valid = mask.unsqueeze(-1)
        has_next = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], 1)
        has_previous = torch.cat([torch.zeros_like(valid[:, :1]), valid[:, :-1]], 1) * valid
        gamma = self.smoothness * (has_previous - has_next)
        odd = (torch.arange(h.shape[1], device=h.device) % 2 == 1)[None, :, None]
        for turn in (~odd, odd):
            previous, following = h.roll(1, 1), h.roll(-1, 1)
            up = alpha + self.smoothness * has_previous * previous
            down = beta + self.smoothness * has_next / following
            h = torch.where(turn & (valid > 0), minimiser(up, down, gamma).clamp(min=TINY), h)
        return h * valid
