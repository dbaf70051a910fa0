"""What the gradient kernels share: a pass through the decoder and back, and Adam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from ..target import Target

_DECAY = (0.9, 0.99)


@dataclasses.dataclass(frozen=True)
class Point:
    """Latents z (B, R, N, L), the decoder's log-variance there (B, R, N, F), a log-density ``value`` (B, R, N).

    ``gradient`` is the derivative of the sum of ``value`` over draws by the parameters that z was computed
    from.
    """

    z: torch.Tensor
    log_variance: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor


def likelihood_point(
    target: Target, parameters: torch.Tensor, draw: Callable[[torch.Tensor], torch.Tensor]
) -> Point:
    """log p(x | z) at z = draw(parameters); the gradient has the shape of ``parameters``.

    The derivative by the decoder's output has a closed form (target.py); autograd differentiates the decoder
    and ``draw``.
    """
    with torch.enable_grad():
        leaf = parameters.detach().requires_grad_()
        z = draw(leaf)
        log_variance = target.decode(z)
    value, slope = _likelihood(target, log_variance)
    (gradient,) = torch.autograd.grad(log_variance, leaf, slope)
    return Point(z.detach(), log_variance.detach(), value, gradient)


def joint_point(
    target: Target,
    parameters: torch.Tensor,
    draw: Callable[[torch.Tensor], torch.Tensor] = lambda leaf: leaf,
) -> Point:
    """log p(x, z) at z = draw(parameters), by default at the parameters themselves, and its gradient."""
    with torch.enable_grad():
        leaf = parameters.detach().requires_grad_()
        z = draw(leaf)
        log_variance, log_prior = target.generate(z)
    value, slope = _likelihood(target, log_variance)
    (gradient,) = torch.autograd.grad([log_variance, log_prior], leaf, [slope, torch.ones_like(log_prior)])
    return Point(z.detach(), log_variance.detach(), value + log_prior.detach(), gradient)


def _likelihood(target: Target, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(x | z) and its derivative by the decoder's output.

    If the prior ties the frames together, the derivative is 0 in padding, which must not move valid frames.
    """
    value, slope = target.log_likelihood_and_gradient(log_variance.detach())
    return value, slope.mul_(target.mask[:, None, :, None]) if target.tied else slope


@dataclasses.dataclass(frozen=True)
class Adam:
    """Parameters, the moments of their gradient, and the number of steps done.

    Kingma and Ba, Adam, 2015, algorithm 1. It works element by element, so frames stay independent.
    """

    parameters: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    steps: int = 0

    @classmethod
    def start(cls, parameters: torch.Tensor) -> Adam:
        """Parameters before the first step."""
        zeros = torch.zeros_like(parameters)
        return cls(parameters, zeros, zeros)

    def ascend(self, gradient: torch.Tensor, rate: float) -> Adam:
        """One step of size ``rate`` up the gradient.

        >>> Adam.start(torch.zeros(2)).ascend(torch.tensor([5.0, -0.1]), 0.5).parameters
        tensor([ 0.5000, -0.5000])
        """
        steps = self.steps + 1
        first = self.first * _DECAY[0] + gradient * (1 - _DECAY[0])
        second = self.second * _DECAY[1] + gradient.square() * (1 - _DECAY[1])
        bias = (1 - _DECAY[0] ** steps, 1 - _DECAY[1] ** steps)
        move = rate * (first / bias[0]) / ((second / bias[1]).sqrt() + 1e-8)
        return Adam(self.parameters + move, first, second, steps)
