"""What the gradient kernels share: one pass through the decoder and back, and Adam's steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from ..target import Target

_DECAY = (0.9, 0.99)


@dataclasses.dataclass(frozen=True)
class Point:
    """Latents z (B, R, N, L), the decoder's log-variance there (B, R, N, F), a log-density ``value``
    (B, R, N), and the ``gradient`` of its sum over draws by what z was made from."""

    z: torch.Tensor
    log_variance: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor


def likelihood_point(
    target: Target, parameters: torch.Tensor, draw: Callable[[torch.Tensor], torch.Tensor]
) -> Point:
    """log p(x | z) at z = draw(parameters); the gradient has the shape of ``parameters``.

    The derivative by the decoder's output is in closed form (target.py); autograd goes through the decoder
    (and ``draw``) only.
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
    """log p(x, z) at z = draw(parameters), by default the parameters themselves, and its gradient."""
    with torch.enable_grad():
        leaf = parameters.detach().requires_grad_()
        z = draw(leaf)
        log_variance, log_prior = target.generate(z)
    value, slope = _likelihood(target, log_variance)
    (gradient,) = torch.autograd.grad([log_variance, log_prior], leaf, [slope, torch.ones_like(log_prior)])
    return Point(z.detach(), log_variance.detach(), value + log_prior.detach(), gradient)


def _likelihood(target: Target, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(x | z) and its derivative by the decoder's output; padding must not pull at frames tied to it."""
    value, slope = target.log_likelihood_and_gradient(log_variance.detach())
    return value, slope.mul_(target.mask[:, None, :, None]) if target.tied else slope


@dataclasses.dataclass(frozen=True)
class Adam:
    """Parameters, the moments of their gradient, and the steps done.

    Kingma and Ba, Adam, 2015, algorithm 1, element by element: frames do not see each other.
    """

    parameters: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    steps: int = 0

    @classmethod
    def start(cls, parameters: torch.Tensor) -> Adam:
        """No step done."""
        zeros = torch.zeros_like(parameters)
        return cls(parameters, zeros, zeros)

    def ascend(self, gradient: torch.Tensor, rate: float) -> Adam:
        """One step of size ``rate`` up the gradient."""
        steps = self.steps + 1
        first = self.first * _DECAY[0] + gradient * (1 - _DECAY[0])
        second = self.second * _DECAY[1] + gradient.square() * (1 - _DECAY[1])
        bias = (1 - _DECAY[0] ** steps, 1 - _DECAY[1] ** steps)
        move = rate * (first / bias[0]) / ((second / bias[1]).sqrt() + 1e-8)
        return Adam(self.parameters + move, first, second, steps)
