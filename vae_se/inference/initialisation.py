"""Where EM starts: the noise, the gain, and the posterior from which the latents are initialised."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol, TypeVar

import torch

from ..noise.base import NoiseModel, NoiseState
from ..numerics import FIT_UPDATES
from ..priors.base import SpeechPrior
from ..priors.posterior import Posterior
from ..rng import Streams
from .target import Target

#: Draws from the encoder that estimate the evidence of a frame: enough to rank initialisations that differ by
#: tens of nats.
DRAWS = 2

S = TypeVar("S", bound=NoiseState)


@dataclasses.dataclass(frozen=True)
class Start:
    """Initial parameters: the state of the noise model, and the gain (B, N).

    ``posterior`` is q(z | noisy recording), which initialises the latents; None leaves that to the prior's own
    encoder.
    """

    noise: NoiseState
    gain: torch.Tensor
    posterior: Posterior | None = None


class StartProposal(Protocol):
    """Output of a noisy encoder: the posterior of the latents, and the log-variance (B, N, F) of the noise."""

    @property
    def posterior(self) -> Posterior:
        """q(z | noisy recording)."""

    @property
    def log_noise(self) -> torch.Tensor:
        """Log-variance of the noise, (B, N, F)."""


class ProposesStart(Protocol):
    """A noisy encoder, as EM sees it."""

    def __call__(self, power: torch.Tensor, mask: torch.Tensor) -> StartProposal:
        """Proposal for noisy power (B, N, F) with frame validity ``mask`` (B, N)."""


def first_start(
    prior: SpeechPrior,
    noise: NoiseModel[Any],
    noisy_encoder: ProposesStart | None,
    encoder_floor: float,
    power: torch.Tensor,
    mask: torch.Tensor,
    streams: Streams,
) -> Start:
    """The start of a recording of floored power (B, N, F): gain 1, and the noise model's own initialisation.

    A noisy encoder, if there is one, gives the posterior of the latents and a noise variance to which the noise
    is fitted. A noise model with alternative initialisations then takes the best one for every frame.
    """
    state, posterior = noise.init(power, mask, streams), None
    if noisy_encoder is not None:
        proposal = noisy_encoder(power, mask)
        posterior = proposal.posterior
        state = fit_start(noise, state, proposal.log_noise.exp(), mask)
    if noise.has_alternatives:
        state = pick_start(noise, state, power, mask, prior, encoder_floor, streams)
    return Start(state, torch.ones_like(mask), posterior)


def fit_start(model: NoiseModel[S], state: S, variance: torch.Tensor, mask: torch.Tensor) -> S:
    """``state`` of a noise ``model``, fitted to a noise variance (B, N, F).

    This runs the model's own updates on the variance in place of the power, without speech. For an NMF they
    reduce the Itakura-Saito divergence between the variance and W H.
    """
    silence = variance.new_zeros(()).expand_as(variance).unsqueeze(1)
    log_weight = torch.zeros_like(mask).unsqueeze(1)
    for _ in range(FIT_UPDATES):
        state = model.update(state, variance, silence, log_weight, mask)
    return state


def pick_start(
    model: NoiseModel[S],
    state: S,
    power: torch.Tensor,
    mask: torch.Tensor,
    prior: SpeechPrior,
    encoder_floor: float,
    streams: Streams,
) -> S:
    """In every frame the initialisation with the highest evidence: ``state`` or one of ``model.alternatives``.

    For each of them log p(x_n) is estimated by importance sampling, with DRAWS draws from the encoder at the
    power (B, N, F) less the noise. An alternative must exceed ``state`` by ``model.margin`` nats: with few
    draws the estimate is further below the evidence for speech, which has many shapes, than for noise. For
    priors that tie the frames together this is a heuristic, because frames are compared one by one.
    """
    states = [state, *model.alternatives(state, power, mask)]
    gain = torch.ones_like(mask)
    targets = (Target(prior, power, model.variance(s), gain, mask) for s in states)
    evidence = torch.stack([_evidence(target, encoder_floor, streams) for target in targets])
    evidence[1:] -= model.margin
    return model.pick(states, evidence.argmax(0))


def _evidence(target: Target, encoder_floor: float, streams: Streams) -> torch.Tensor:
    """log p(x_n), (B, N), by importance sampling."""
    z, log_q = target.encode(target.less_noise(encoder_floor)).rsample(DRAWS, streams)
    log_variance, log_prior = target.generate(z)
    joint = target.log_likelihood(log_variance) + log_prior
    return torch.logsumexp(joint - log_q, 1) - math.log(DRAWS)
