"""EM on a block of a few frames: the variational E-step and the M-step of the gain, with few operations.

A block of two frames has so little arithmetic that the number of operations decides about its cost. Here the
latents' gradient, the gain's sums and the Wiener filter share one division per bin, and nothing is divided into
blocks or threads. The results are those of :class:`~.estep.vem.Variational` and :class:`~.gain.Gain`, up to
rounding.
"""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import mean_over_draws
from ..priors.base import SpeechPrior
from ..priors.posterior import Posterior
from ..rng import Streams
from .estep.gradient import Adam
from .estep.vem import LOG_VARIANCE_RANGE, Variational
from .gain import Gain
from .wiener import FilterMoments


@dataclasses.dataclass
class ShortBlock:
    """Latents and gains of the frames ``power`` |x|^2 (n, F).

    ``deviation`` (n, F): factor on the decoder's variance; ``adam``: mean and log-variance of q(z), (2, n, L);
    ``gain`` (n, 1). ``speech``: variance of the speech (R, n, F) under the last draws.
    """

    prior: SpeechPrior
    kernel: Variational
    gain_rule: Gain
    power: torch.Tensor
    deviation: torch.Tensor | float
    adam: Adam
    gain: torch.Tensor
    speech: torch.Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def start(
        cls,
        prior: SpeechPrior,
        kernel: Variational,
        gain_rule: Gain,
        power: torch.Tensor,
        posterior: Posterior,
        deviation: torch.Tensor | None,
    ) -> ShortBlock:
        """The block (1, n, F) before the first iteration: q(z) is ``posterior`` (1, n, L), the gain 1."""
        parameters = torch.stack([posterior.mean[0], posterior.log_variance[0].clamp(*LOG_VARIANCE_RANGE)])
        gain = power.new_ones(power.shape[1], 1)
        factor = 1.0 if deviation is None else deviation[0]
        return cls(prior, kernel, gain_rule, power[0], factor, Adam.start(parameters), gain)

    def iterate(self, noise: torch.Tensor, streams: Streams) -> None:
        """One E-step given the variance of the ``noise`` (n, F), and an update of the gain."""
        for _ in range(self.kernel.steps):
            mean, log_variance = self.adam.parameters
            std = torch.exp(0.5 * log_variance)
            epsilon = streams.normal_draws(self.kernel.draws, mean.shape[-1], dtype=mean.dtype)[0]
            decoded, derivative = self.prior.decode_with_derivative(mean + std * epsilon)
            speech = torch.exp(decoded).mul_(self.deviation * self.gain)
            inverse = (speech + noise).reciprocal_()
            share = speech * inverse
            slope = share * inverse.mul_(self.power).sub_(1)
            by_z = derivative(slope)
            by_mean = mean_over_draws(by_z) - mean
            by_log_variance = 0.5 * (std * mean_over_draws(by_z * epsilon) - std.square() + 1)
            adam = self.adam.ascend(torch.stack([by_mean, by_log_variance]), self.kernel.learning_rate)
            adam.parameters[1].clamp_(*LOG_VARIANCE_RANGE)
            self.adam = adam
        if self.gain_rule.kind != "fixed":
            below = mean_over_draws(share.sum(-1))
            above = mean_over_draws(slope.sum(-1)) + below
            old = self.gain[:, 0]
            gain = self.gain_rule.minimiser(above / old, below / old, old).unsqueeze(-1)
            speech.mul_(gain / self.gain)
            self.gain = gain
        self.speech = speech

    def moments(self, noise: torch.Tensor) -> FilterMoments:
        """The moments (n, F) of the filter under the last draws, given the variance of the ``noise``."""
        share = self.speech / (self.speech + noise)
        first, second = mean_over_draws(share), mean_over_draws(share.square())
        return FilterMoments(first, second, first * noise)
