"""What the Markov chain kernels share: chains, and acceptance frame by frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import Info

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Place = TypeVar("Place", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class Chains:
    """R independent chains per frame: z (B, R, N, L), the decoder's log-variance there, and the prior's log p
    (B, R, N)."""

    z: torch.Tensor
    log_variance: torch.Tensor
    log_prior: torch.Tensor

    @classmethod
    def at(cls, target: Target, z: torch.Tensor) -> Chains:
        """Chains that stand at z."""
        return cls(z, *target.generate(z))

    def log_joint(self, target: Target) -> torch.Tensor:
        """log p(x, z), (B, R, N)."""
        return target.log_likelihood(self.log_variance) + self.log_prior


def accept(
    target: Target, current: Place, proposed: Place, log_ratio: torch.Tensor, streams: Streams
) -> tuple[Place, torch.Tensor]:
    """Metropolis-Hastings: take the proposal with probability min(1, exp(log_ratio)).

    ``log_ratio`` (B, R, N). One decision per frame and chain, since frames are independent given theta; where
    the prior ties them together, one per trajectory, by the sum over its frames. ``current`` and ``proposed``
    are dataclasses of tensors (B, R, N, ...). Returns what of them is kept, and the decisions (B, R, N) as
    booleans.
    """
    uniform = streams.uniform(log_ratio.shape[1], dtype=log_ratio.dtype).transpose(1, 2)
    if target.tied:
        log_ratio = (log_ratio * target.mask.unsqueeze(1)).sum(-1, keepdim=True).expand_as(uniform)
        uniform = uniform[..., :1]
    taken = torch.log(uniform) < log_ratio

    def pick(name: str) -> torch.Tensor:
        new: Any = getattr(proposed, name)
        return torch.where(taken if new.ndim == 3 else taken.unsqueeze(-1), new, getattr(current, name))

    return dataclasses.replace(current, **{f.name: pick(f.name) for f in dataclasses.fields(current)}), taken


def chain_info(
    target: Target,
    z: torch.Tensor,
    log_variance: torch.Tensor,
    joint: torch.Tensor,
    acceptance: torch.Tensor | None,
) -> tuple[Draws, Info]:
    """Draws of equal weight and the diagnostics that go with them.

    ``joint``: log p(x, z) at the chains, (B, R, N); ``acceptance`` (B, R, N) in [0, 1], None where every move
    is taken.
    """
    samples = Draws.equal(z, log_variance)
    objective = frame_mean(joint.mean(1), target.mask)
    rate = None if acceptance is None else frame_mean(acceptance.mean(1), target.mask)
    # Chains are independent of each other, so their number is the effective number of draws of one step.
    draws = torch.full_like(objective, z.shape[1])
    return samples, Info(objective, draws, rate, joint)
