"""What the Markov chain kernels share: the chains, Metropolis-Hastings acceptance, and their report."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import EStepInfo

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Place = TypeVar("Place", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class Chains:
    """R independent chains per frame: z (B, R, N, L), the decoder's log-variance (B, R, N, F), and log p(z) and
    log p(x, z), both (B, R, N)."""

    z: torch.Tensor
    log_variance: torch.Tensor
    log_prior: torch.Tensor
    log_joint: torch.Tensor

    @classmethod
    def at(cls, target: Target, z: torch.Tensor) -> Chains:
        """Chains at z."""
        log_variance, log_prior = target.generate(z)
        return cls(z, log_variance, log_prior, target.log_likelihood(log_variance) + log_prior)

    def under(self, target: Target) -> Chains:
        """The same chains at the parameters of ``target``, which change log p(x, z) and nothing else."""
        return dataclasses.replace(self, log_joint=target.log_likelihood(self.log_variance) + self.log_prior)


def accept(
    target: Target, current: Place, proposed: Place, log_ratio: torch.Tensor, streams: Streams
) -> tuple[Place, torch.Tensor]:
    """Metropolis-Hastings acceptance: take the proposal with probability min(1, exp(log_ratio)).

    ``log_ratio`` (B, R, N). There is one decision per frame and chain, because frames are independent given
    theta; if the prior ties them together, there is one per trajectory, by the sum over its frames. ``current``
    and ``proposed`` are dataclasses of tensors (B, R, N, ...). Returns the new place, and the decisions
    (B, R, N) as booleans.
    """
    uniform = streams.uniform_draws(log_ratio.shape[1], dtype=log_ratio.dtype)
    if target.tied:
        log_ratio = (log_ratio * target.mask.unsqueeze(1)).sum(-1, keepdim=True).expand_as(uniform)
        uniform = uniform[..., :1]
    accepted = torch.log(uniform) < log_ratio

    def pick(name: str) -> torch.Tensor:
        new: Any = getattr(proposed, name)
        return torch.where(accepted if new.ndim == 3 else accepted.unsqueeze(-1), new, getattr(current, name))

    return dataclasses.replace(current, **{f.name: pick(f.name) for f in dataclasses.fields(current)}), accepted


def chain_info(
    target: Target,
    z: torch.Tensor,
    log_variance: torch.Tensor,
    joint: torch.Tensor,
    acceptance: torch.Tensor | None,
) -> tuple[Draws, EStepInfo]:
    """Draws of equal weight from chains at z (B, R, N, L), and the report.

    ``joint``: log p(x, z) at the chains, (B, R, N); ``acceptance`` (B, R, N) in [0, 1], None where every move
    is taken.
    """
    objective = frame_mean(joint.mean(1), target.mask)
    rate = None if acceptance is None else frame_mean(acceptance.mean(1), target.mask)
    # The chains are independent, so one step has as many independent draws as chains.
    ess = torch.full_like(objective, z.shape[1])
    return Draws.equal(z, log_variance), EStepInfo(objective, ess, rate, joint)
