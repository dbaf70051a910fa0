"""Self-normalised importance sampling with the encoder, and what the weights teach, as proposal."""

from __future__ import annotations

import dataclasses
import math

import torch

from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, Info
from .proposal import Proposal


@dataclasses.dataclass(frozen=True)
class EncoderISState:
    """The proposal for the next draws, and the last draws."""

    proposal: Proposal
    samples: Draws


@ESTEPS.add("encoder-is")
@dataclasses.dataclass(frozen=True)
class EncoderIS:
    """z^(r) ~ q(z), w_r proportional to p(x | z^(r)) p(z^(r)) / q(z^(r)), frame by frame.

    q is the mixture of proposal.py: the encoder at y, and a Gaussian that follows the weighted draws of the
    steps before. It depends on the past only, hence weights are those of any importance sampling.

    ``draws``: R. ``refresh``: the encoder was trained on clean speech, so y is the posterior power of the
    speech, E[|s|^2 | x], from the draws of the step before, and not the first estimate of it for ever.

    Owen, Monte Carlo theory, methods and examples, 2013, ch. 9.2; objective: Burda, Grosse and
    Salakhutdinov, Importance weighted autoencoders, 2016, eq. 8.
    """

    draws: int = 16
    refresh: bool = True

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderISState:
        """The first proposal is the encoder at ``power``."""
        proposal = Proposal.start(target.encode(power))
        samples, log_weight = self._draw(target, proposal, streams)
        return EncoderISState(proposal.learn(samples.z, log_weight), samples)

    def step(self, target: Target, state: EncoderISState, streams: Streams) -> tuple[EncoderISState, Info]:
        """New draws from a refreshed proposal, which then learns from them."""
        proposal = state.proposal
        if self.refresh:
            old = state.samples
            shown = target.speech_power(old.log_variance, old.log_weight)
            proposal = proposal.shown(target.encode(shown))
        samples, log_weight = self._draw(target, proposal, streams)
        bound = torch.logsumexp(log_weight, dim=1) - math.log(self.draws)
        info = Info(
            objective=frame_mean(bound, target.mask),
            ess=frame_mean(samples.effective_sample_size(), target.mask),
        )
        return EncoderISState(proposal.learn(samples.z, log_weight), samples), info

    def _draw(self, target: Target, proposal: Proposal, streams: Streams) -> tuple[Draws, torch.Tensor]:
        z, log_q = proposal.draw(self.draws, streams)
        log_variance, log_prior = target.generate(z)
        log_weight = target.log_likelihood(log_variance) + log_prior - log_q
        return Draws.weighted(z, log_weight, log_variance), log_weight
