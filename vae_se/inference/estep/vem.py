"""Variational E-step with a free Gaussian per frame."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...likelihood import gaussian_entropy, gaussian_kl
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, Info
from .gradient import Adam, joint_point, likelihood_point

_LOG_VARIANCE_RANGE = (-12.0, 2.0)


@dataclasses.dataclass(frozen=True)
class VariationalState:
    """q(z_n) = N(mean, diag exp(log_variance)), both in ``parameters`` (2, B, N, L), with Adam's moments."""

    adam: Adam
    samples: Draws

    @property
    def parameters(self) -> torch.Tensor:
        """Mean and log-variance of q."""
        return self.adam.parameters


@ESTEPS.add("vem")
@dataclasses.dataclass(frozen=True)
class Variational:
    """Ascends E_q[log p(x | z)] - KL(q || p(z)) by reparametrised draws, frame by frame.

    The divergence is in closed form where p(z) = N(0, I), else log p(z) is taken at the draws. Where the prior
    ties frames together, q is still a product over frames (mean field), and every frame's gradient sees all.

    ``draws``: R; ``steps``: gradient steps per E-step; ``learning_rate``: Adam's step size. The shared encoder only
    gives the start, hence nothing of the model is changed. The gradient of the likelihood by the decoder's
    output is in closed form (target.py); autograd goes through the decoder only.

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech
    enhancement, 2020, sec. 4, with free parameters per frame in place of a fine-tuned encoder; Kim et al.,
    Semi-amortized variational autoencoders, 2018; Kingma and Ba, Adam, 2015.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 1
    steps: int = 1
    learning_rate: float = 0.2

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> VariationalState:
        """q starts as the encoder's posterior at ``power``."""
        posterior = target.encode(power)
        parameters = torch.stack([posterior.mean, posterior.log_variance.clamp(*_LOG_VARIANCE_RANGE)])
        z = self._draw(parameters, streams)
        samples = Draws.equal(z, target.decode(z))
        return VariationalState(Adam.start(parameters), samples)

    def step(self, target: Target, state: VariationalState, streams: Streams) -> tuple[VariationalState, Info]:
        """``steps`` gradient steps; the draws handed on are those of the last one."""
        adam, closed = state.adam, target.prior.standard_normal
        at = likelihood_point if closed else joint_point
        for _ in range(self.steps):
            mean, log_var = adam.parameters
            point = at(target, adam.parameters, lambda leaf: self._draw(leaf, streams))
            gradient = point.gradient / self.draws
            if closed:
                gradient = gradient - torch.stack([mean, 0.5 * (log_var.exp() - 1)])
            else:
                gradient[1] += 0.5  # of the entropy of q
            adam = adam.ascend(gradient, self.learning_rate)
            adam.parameters[1].clamp_(*_LOG_VARIANCE_RANGE)
        samples = Draws.equal(point.z, point.log_variance)
        left = -gaussian_kl(mean, log_var) if closed else gaussian_entropy(log_var)
        bound = point.value.mean(1) + left
        info = Info(
            objective=frame_mean(bound, target.mask),
            ess=torch.full_like(bound[:, 0], self.draws),
        )
        return VariationalState(adam, samples), info

    def _draw(self, parameters: torch.Tensor, streams: Streams) -> torch.Tensor:
        mean, log_variance = parameters
        epsilon = streams.normal(self.draws, mean.shape[-1], dtype=mean.dtype).transpose(1, 2)
        return mean.unsqueeze(1) + torch.exp(0.5 * log_variance).unsqueeze(1) * epsilon
