"""Where EM starts: the noise, the gain, and the posterior from which the latents are initialised."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

import torch

from ..noise.base import NoiseModel, NoiseState
from ..priors.base import SpeechPrior
from ..priors.posterior import Posterior
from ..rng import Streams
from .noisy_proposal import Proposal
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


def first_start(
    prior: SpeechPrior,
    noise: NoiseModel[Any],
    proposal: Proposal | None,
    encoder_floor: float,
    power: torch.Tensor,
    mask: torch.Tensor,
    streams: Streams,
) -> Start:
    """The start of a recording of floored power (B, N, F): gain 1, and the noise model's own initialisation.

    The proposal of a noisy encoder, if there is one, gives the posterior of the latents and a noise power to
    which the noise is fitted. A noise model with alternative initialisations then takes the best one for every
    frame.
    """
    state, posterior = noise.init(power, mask, streams), None
    if proposal is not None:
        posterior = proposal.posterior
        state = noise.start_at(state, proposal.noise_power, mask)
    if noise.has_alternatives:
        state = pick_start(noise, state, power, mask, prior, encoder_floor, streams)
    return Start(state, torch.ones_like(mask), posterior)


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
