"""What the Markov chain kernels share: chains, and acceptance frame by frame."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..particles import Samples, frame_mean
from ..target import Target
from .base import Info


@dataclasses.dataclass(frozen=True)
class Chains:
    """R independent chains per frame: z (B, R, N, L) and the decoder's log-variance there."""

    z: torch.Tensor
    log_variance: torch.Tensor


def accept(
    chains: Chains, proposed: Chains, log_ratio: torch.Tensor, streams: Streams
) -> tuple[Chains, torch.Tensor]:
    """Metropolis-Hastings: take the proposal with probability min(1, exp(log_ratio)).

    ``log_ratio`` (B, R, N): one decision per frame and chain, since frames are independent given theta.
    Returns the new chains and the decisions (B, R, N) as booleans.
    """
    uniform = streams.uniform(log_ratio.shape[1], dtype=log_ratio.dtype).transpose(1, 2)
    taken = torch.log(uniform) < log_ratio
    pick = taken.unsqueeze(-1)
    return Chains(
        torch.where(pick, proposed.z, chains.z),
        torch.where(pick, proposed.log_variance, chains.log_variance),
    ), taken


def chain_info(
    target: Target, chains: Chains, acceptance: torch.Tensor | None, joint: torch.Tensor | None = None
) -> tuple[Samples, Info]:
    """Draws of equal weight and the diagnostics that go with them.

    ``acceptance`` (B, R, N) in [0, 1], None where every move is taken; ``joint``: log p(x, z) at the chains,
    (B, R, N), where the kernel has it already.
    """
    samples = Samples.equal(chains.z, chains.log_variance)
    if joint is None:
        joint = target.log_likelihood(chains.log_variance) + target.prior.log_prior(chains.z)
    objective = frame_mean(joint.mean(1), target.mask)
    rate = None if acceptance is None else frame_mean(acceptance.mean(1), target.mask)
    # Chains are independent of each other, so their number is the effective number of draws of one step.
    draws = torch.full_like(objective, chains.z.shape[1])
    return samples, Info(objective, draws, rate, joint)
