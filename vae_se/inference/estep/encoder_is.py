"""Self-normalised importance sampling with the encoder as proposal."""

from __future__ import annotations

import dataclasses
import math

import torch

from ...rng import Streams
from ..particles import Samples, frame_mean
from ..target import Target
from .base import ESTEPS, Info


@dataclasses.dataclass(frozen=True)
class EncoderISState:
    """The proposal q(z | .) and the draws from it."""

    posterior: object
    samples: Samples


@ESTEPS.add("encoder-is")
@dataclasses.dataclass(frozen=True)
class EncoderIS:
    """z^(r) ~ q(z | y), w_r proportional to p(x | z^(r)) p(z^(r)) / q(z^(r) | y), frame by frame.

    ``draws``: R. ``refresh``: the encoder was trained on clean speech, so y is the posterior power of the
    speech, E[|s|^2 | x], from the draws of the step before, and not the noisy power for ever. The weights
    make any proposal valid.

    Owen, Monte Carlo theory, methods and examples, 2013, ch. 9.2; objective: Burda, Grosse and
    Salakhutdinov, Importance weighted autoencoders, 2016, eq. 8.
    """

    draws: int = 8
    refresh: bool = True

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderISState:
        """The first proposal is the encoder at ``power``."""
        posterior = target.encode(power)
        return EncoderISState(posterior, self._draw(target, posterior, streams)[0])

    def step(self, target: Target, state: EncoderISState, streams: Streams) -> tuple[EncoderISState, Info]:
        """New draws from a (refreshed) proposal."""
        posterior = state.posterior
        if self.refresh:
            old = state.samples
            posterior = target.encode(target.speech_power(old.log_variance, old.log_weight))
        samples, bound = self._draw(target, posterior, streams)
        info = Info(
            objective=frame_mean(bound, target.mask),
            ess=frame_mean(samples.effective_sample_size(), target.mask),
        )
        return EncoderISState(posterior, samples), info

    def _draw(self, target: Target, posterior: object, streams: Streams) -> tuple[Samples, torch.Tensor]:
        z, log_q = posterior.rsample(self.draws, streams)  # type: ignore[attr-defined]
        log_variance = target.prior.decode(z)
        log_weight = target.log_likelihood(log_variance) + target.prior.log_prior(z) - log_q
        bound = torch.logsumexp(log_weight, dim=1) - math.log(self.draws)
        return Samples.weighted(z, log_weight, log_variance), bound
