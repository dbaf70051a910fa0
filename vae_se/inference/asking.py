"""The noisy encoder asked again, with what EM has found: q(z | x, v, n)."""

from __future__ import annotations

import dataclasses

import torch

from ..likelihood import LogVariances
from ..numerics import POWER_FLOOR, TINY
from ..rng import Streams
from .em import EMState, Model, begin
from .initialisation import Start


@torch.no_grad()
def found_variances(model: Model, power: torch.Tensor, mask: torch.Tensor, state: EMState) -> LogVariances:
    """The variances of speech and noise at ``state``: W H, and the mean of g v(z) over the latest draws.

    ``power``: |x|^2 (B, N, F) at the prior's level; ``mask`` (B, N).
    """
    target, draws = model.target(power, mask, state), state.estep.draws
    speech = target.speech_variance(draws.log_variance)
    mean = torch.einsum("brn,brnf->bnf", draws.log_weight.exp(), speech)
    return LogVariances(speech=(mean + TINY).log_(), noise=(target.noise + TINY).log())


@torch.no_grad()
def ask_again(
    model: Model, power: torch.Tensor, mask: torch.Tensor, state: EMState, streams: Streams
) -> EMState:
    """EM begun anew from what a noise-aware encoder says to the variances that EM has found.

    Arguments as of :func:`~.em.step`. The latents start from the new proposal, W H is fitted to its noise from
    where it is, and the reports of earlier iterations stay. The state is returned as it is where ``model`` has
    no such encoder.
    """
    network = model.noisy_encoder
    if network is None or not network.noise_aware:
        return state
    given = found_variances(model, power, mask, state)
    power = power + POWER_FLOOR
    proposal = model.proposal_of(network(power, mask, given=given), power, mask)
    noise = model.noise.start_at(state.noise, proposal.noise_power, mask)
    start = Start(noise, torch.ones_like(mask), proposal.posterior)
    again = begin(model, power, mask, streams, start, proposal)
    return dataclasses.replace(again, trace=state.trace)
