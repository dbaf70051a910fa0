"""Variational E-step with a free Gaussian per frame."""

from __future__ import annotations

import dataclasses

import torch

from ...likelihood import gaussian_kl
from ...rng import Streams
from ..particles import Samples, frame_mean
from ..target import Target
from .base import ESTEPS, Info

_DECAY = (0.9, 0.99)
_LOG_VARIANCE_RANGE = (-12.0, 2.0)


@dataclasses.dataclass(frozen=True)
class VariationalState:
    """q(z_n) = N(mean, diag exp(log_variance)), both in ``parameters`` (2, B, N, L), and Adam's moments."""

    parameters: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    steps: int
    samples: Samples


@ESTEPS.add("vem")
@dataclasses.dataclass(frozen=True)
class Variational:
    """Ascends E_q[log p(x | z)] - KL(q || N(0, I)) by reparametrised draws, frame by frame.

    ``draws``: R; ``steps``: gradient steps per E-step; ``rate``: Adam's step size. The shared encoder only
    gives the start, hence nothing of the model is changed. The gradient of the likelihood by the decoder's
    output is in closed form (target.py); autograd goes through the decoder only.

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech
    enhancement, 2020, sec. 4, with free parameters per frame in place of a fine-tuned encoder; Kim et al.,
    Semi-amortized variational autoencoders, 2018; Kingma and Ba, Adam, 2015.
    """

    draws: int = 2
    steps: int = 1
    rate: float = 0.1

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> VariationalState:
        """q starts as the encoder's posterior at ``power``."""
        posterior = target.prior.encode(power)
        parameters = torch.stack([posterior.mean, posterior.log_variance.clamp(*_LOG_VARIANCE_RANGE)])
        zeros = torch.zeros_like(parameters)
        z = self._draw(parameters, streams)
        samples = Samples.equal(z, target.prior.decode(z))
        return VariationalState(parameters, zeros, zeros, 0, samples)

    def step(self, target: Target, state: VariationalState, streams: Streams) -> tuple[VariationalState, Info]:
        """``steps`` gradient steps; the draws handed on are those of the last one."""
        parameters, first, second = state.parameters, state.first, state.second
        for count in range(state.steps + 1, state.steps + self.steps + 1):
            with torch.enable_grad():
                leaf = parameters.detach().requires_grad_()
                z = self._draw(leaf, streams)
                log_variance = target.prior.decode(z)
            value, slope = target.log_likelihood_and_gradient(log_variance.detach())
            (gradient,) = torch.autograd.grad(log_variance, leaf, slope.div_(-self.draws))
            mean, log_var = parameters
            gradient = gradient + torch.stack([mean, 0.5 * (log_var.exp() - 1)])
            first = first * _DECAY[0] + gradient * (1 - _DECAY[0])
            second = second * _DECAY[1] + gradient.square() * (1 - _DECAY[1])
            bias = (1 - _DECAY[0] ** count, 1 - _DECAY[1] ** count)
            before = parameters
            parameters = before - self.rate * (first / bias[0]) / ((second / bias[1]).sqrt() + 1e-8)
            parameters[1].clamp_(*_LOG_VARIANCE_RANGE)
        samples = Samples.equal(z.detach(), log_variance.detach())
        bound = value.mean(1) - gaussian_kl(before[0], before[1])
        info = Info(
            objective=frame_mean(bound, target.mask),
            ess=torch.full_like(bound[:, 0], self.draws),
        )
        return VariationalState(parameters, first, second, state.steps + self.steps, samples), info

    def _draw(self, parameters: torch.Tensor, streams: Streams) -> torch.Tensor:
        mean, log_variance = parameters
        epsilon = streams.normal(self.draws, mean.shape[-1], dtype=mean.dtype).transpose(1, 2)
        return mean.unsqueeze(1) + torch.exp(0.5 * log_variance).unsqueeze(1) * epsilon
