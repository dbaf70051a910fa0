"""Variational E-step with a free diagonal Gaussian per frame."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...likelihood import gaussian_entropy
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .divergence import divergence_from_prior
from .gradient import Adam, joint_point, likelihood_point

LOG_VARIANCE_RANGE = (-12.0, 2.0)


@dataclasses.dataclass(frozen=True)
class VariationalState:
    """q(z_n) = N(mean, diag exp(log_variance)), both in Adam's parameters (2, B, N, L), and the last draws."""

    adam: Adam
    draws: Draws

    @property
    def parameters(self) -> torch.Tensor:
        """Mean and log-variance of q."""
        return self.adam.parameters


@ESTEPS.add("vem")
@dataclasses.dataclass(frozen=True)
class Variational(EStep[VariationalState]):
    """Gradient ascent on E_q[log p(x | z)] - KL(q || p(z)) with reparameterised draws, frame by frame.

    The divergence is in closed form if p(z) = N(0, I). If the prior ties the frames together, q is still a
    product over frames (mean field), and the gradient of every frame depends on all frames; the divergence is
    that of :mod:`.divergence` where it exists, otherwise log p(z) is evaluated at the draws.

    ``draws``: R; ``steps``: gradient steps per E-step; ``learning_rate``: step size of Adam. The encoder only
    initialises q, so the shared model does not change. The gradient of the likelihood by the decoder's output
    has a closed form (target.py); autograd differentiates the decoder.

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech enhancement,
    2020, with free parameters per frame in place of a fine-tuned encoder; Kim, Wiseman, Miller, Sontag and
    Rush, Semi-amortized variational autoencoders, 2018.
    """

    trajectories: ClassVar[bool] = True
    enough: ClassVar[tuple[int, int]] = (3, 2)
    draws: int = 1
    steps: int = 1
    learning_rate: float = 0.2

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> VariationalState:
        """q starts as the Gaussian with the moments of the initial posterior."""
        posterior = target.initial_posterior(power)
        parameters = torch.stack([posterior.mean, posterior.log_variance.clamp(*LOG_VARIANCE_RANGE)])
        std = torch.exp(0.5 * parameters[1])
        z = parameters[0].unsqueeze(1) + std.unsqueeze(1) * self._noise(parameters, streams)
        return VariationalState(Adam.start(parameters), Draws.equal(z, target.decode(z)))

    def step(
        self, target: Target, state: VariationalState, streams: Streams
    ) -> tuple[VariationalState, EStepInfo]:
        """``steps`` gradient steps; the draws are those of the last one."""
        adam = state.adam
        for _ in range(self.steps):
            parameters, divergence = adam.parameters, divergence_from_prior(target, adam.parameters)
            at = joint_point if divergence is None else likelihood_point
            std, epsilon = torch.exp(0.5 * parameters[1]), self._noise(parameters, streams)
            point = at(target, parameters[0].unsqueeze(1) + std.unsqueeze(1) * epsilon)
            by_log_variance = 0.5 * std * (point.gradient * epsilon).sum(1)
            gradient = torch.stack([point.gradient.sum(1), by_log_variance]) / self.draws
            if divergence is None:
                gradient[1] += 0.5  # derivative of the entropy of q
            else:
                gradient = gradient - divergence[1]
            adam = adam.ascend(gradient, self.learning_rate)
            adam.parameters[1].clamp_(*LOG_VARIANCE_RANGE)
        rest = gaussian_entropy(parameters[1]) if divergence is None else -divergence[0]
        bound = point.value.mean(1) + rest
        info = EStepInfo(
            objective=frame_mean(bound, target.mask),
            ess=torch.full_like(bound[:, 0], self.draws),
        )
        sums = point.filter_sum, point.power_sum
        draws = dataclasses.replace(Draws.equal(point.z, point.log_variance), gain_sums=sums)
        return VariationalState(adam, draws), info

    def _noise(self, parameters: torch.Tensor, streams: Streams) -> torch.Tensor:
        """Standard normal numbers (B, R, N, L) for draws of q."""
        return streams.normal_draws(self.draws, parameters.shape[-1], dtype=parameters.dtype)
