"""What the gradient kernels share: a pass through the decoder and back, and Adam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ...blocks import threadwise
from ..target import Target

_DECAY = (0.9, 0.99)


@dataclasses.dataclass(frozen=True)
class Point:
    """Latents z (B, R, N, L), the decoder's log-variance there (B, R, N, F), a log-density ``value`` (B, R, N).

    ``gradient`` (B, R, N, L) is the derivative of the sum of ``value`` by z; ``filter_sum`` and ``power_sum``
    (B, R, N): those of :class:`~vae_se.inference.target.Likelihood`.
    """

    z: torch.Tensor
    log_variance: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    filter_sum: torch.Tensor
    power_sum: torch.Tensor


def likelihood_point(target: Target, z: torch.Tensor) -> Point:
    """log p(x | z) and its gradient."""
    return _point(target, z, _likelihood)


def joint_point(target: Target, z: torch.Tensor) -> Point:
    """log p(x, z) and its gradient."""
    return _point(target, z, _joint)


#: A log-density of z (B, R, N, L): the decoder's log-variance there, the density (B, R, N), a scalar whose
#: derivative by z is that of the density's sum, and the sums of the likelihood for the gain.
_Density = Callable[[Target, torch.Tensor], tuple[torch.Tensor, ...]]


def _point(target: Target, z: torch.Tensor, density: _Density) -> Point:
    """``density`` and its gradient at z.

    Autograd differentiates the decoder in one part of the frames per thread; all frames are one part where the
    prior ties them together.
    """
    z = z.detach()

    def of_part(frames: slice) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            here = z[:, :, frames].detach().requires_grad_()
            log_variance, value, total, filter_sum, power_sum = density(target.at(frames), here)
        (slope,) = torch.autograd.grad(total, here)
        return log_variance.detach(), value.detach(), slope, filter_sum, power_sum

    parts = of_part(slice(0, z.shape[2])) if target.tied else threadwise(of_part, z)
    log_variance, value, slope, filter_sum, power_sum = parts
    return Point(z, log_variance, value, slope, filter_sum, power_sum)


def _likelihood(target: Target, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """log p(x | z), as :data:`_Density`."""
    log_variance = target.decode(z)
    return log_variance, *_LogLikelihood.apply(log_variance, target)


def _joint(target: Target, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """log p(x, z), as :data:`_Density`."""
    log_variance, log_prior = target.generate(z)
    value, total, *sums = _LogLikelihood.apply(log_variance, target)
    return log_variance, value + log_prior.detach(), total + log_prior.sum(), *sums


class _LogLikelihood(torch.autograd.Function):
    """log p(x | z) of a :class:`Target` by the decoder's log-variance (B, R, N, F): the value (B, R, N), its
    sum, whose derivative is in closed form (target.py), and the sums for the gain.

    The sum of the values alone has a gradient. If the prior ties the frames together, the derivative is 0 in
    padding, which must not move valid frames.
    """

    @staticmethod
    def forward(ctx: Any, log_variance: torch.Tensor, target: Target) -> tuple[torch.Tensor, ...]:
        found = target.likelihood_at(log_variance)
        ctx.slope = found.slope.mul_(target.mask[:, None, :, None]) if target.tied else found.slope
        ctx.mark_non_differentiable(found.value, found.filter_sum, found.power_sum)
        return found.value, found.value.sum(), found.filter_sum, found.power_sum

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.slope.mul_(gradients[1]), None


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
