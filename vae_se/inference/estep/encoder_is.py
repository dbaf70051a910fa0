"""Self-normalised importance sampling from the encoder and a Gaussian that learns from the weights."""

from __future__ import annotations

import dataclasses
import math

import torch

from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .proposal import Proposal


@dataclasses.dataclass(frozen=True)
class EncoderISState:
    """The proposal for the next draws, and the last draws."""

    proposal: Proposal
    draws: Draws


@ESTEPS.add("encoder-is")
@dataclasses.dataclass(frozen=True)
class EncoderIS(EStep[EncoderISState]):
    """z^(r) ~ q(z), w_r proportional to p(x | z^(r)) p(z^(r)) / q(z^(r)), frame by frame.

    q is the mixture in proposal.py: an encoder's posterior, and a Gaussian fitted to the weighted draws of
    earlier steps. It depends on the past only, so the weights are ordinary importance weights.

    ``draws``: R. ``refresh``: before every step the encoder's part of q becomes the posterior of the prior's
    encoder at E[|s|^2 | x], the posterior power of the speech under the last draws. Otherwise it stays the
    initial posterior.

    Owen, Monte Carlo theory, methods and examples, 2013, ch. 9; the objective: Burda, Grosse and Salakhutdinov,
    Importance weighted autoencoders, 2016.
    """

    draws: int = 16
    refresh: bool = True

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderISState:
        """The first proposal is the initial posterior."""
        proposal = Proposal.start(target.initial_posterior(power))
        draws, log_weight = self._draw(target, proposal, streams)
        return EncoderISState(proposal.learn(draws.z, log_weight), draws)

    def step(self, target: Target, state: EncoderISState, streams: Streams) -> tuple[EncoderISState, EStepInfo]:
        """New draws from a refreshed proposal, which then learns from them."""
        proposal = state.proposal
        if self.refresh:
            speech_power = target.speech_power(state.draws.log_variance, state.draws.log_weight)
            proposal = proposal.with_encoder(target.encode(speech_power))
        draws, log_weight = self._draw(target, proposal, streams)
        bound = torch.logsumexp(log_weight, dim=1) - math.log(self.draws)
        info = EStepInfo(
            objective=frame_mean(bound, target.mask),
            ess=frame_mean(draws.effective_sample_size(), target.mask),
        )
        return EncoderISState(proposal.learn(draws.z, log_weight), draws), info

    def _draw(self, target: Target, proposal: Proposal, streams: Streams) -> tuple[Draws, torch.Tensor]:
        z, log_q = proposal.draw(self.draws, streams)
        log_variance, log_prior = target.generate(z)
        log_weight = target.log_likelihood(log_variance) + log_prior - log_q
        return Draws.weighted(z, log_weight, log_variance), log_weight
