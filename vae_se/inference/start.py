"""Where the noise starts in each frame: of several proposals, the one that makes the frame likeliest."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..rng import Streams
from .target import Target

#: Draws from the encoder for each proposal: enough to rank proposals that differ by tens of nats.
DRAWS = 2


def pick_start(
    model: Any,
    state: Any,
    power: torch.Tensor,
    mask: torch.Tensor,
    prior: Any,
    encoder_floor: float,
    streams: Streams,
) -> Any:
    """``state`` with, in every frame, the best of its own noise and that of ``model.rivals``.

    For each proposal n the encoder is shown the power (B, N, F) less n, and log p(x_n) is estimated by
    importance sampling with DRAWS draws from what it says. A rival must win by ``model.margin`` nats: few draws
    find less of the evidence of speech, which has many shapes, than of noise, which here has one.
    Where the prior ties frames together the log prior is shared out among them, and this is a heuristic.
    """
    states = [state, *model.rivals(state, power, mask)]
    gain = torch.ones_like(mask)
    evidence = torch.stack(
        [_evidence(Target(prior, power, model.variance(s), gain, mask), encoder_floor, streams) for s in states]
    )
    evidence[1:] -= model.margin
    return model.pick(states, evidence.argmax(0))


def _evidence(target: Target, encoder_floor: float, streams: Streams) -> torch.Tensor:
    """log p(x_n), (B, N), by importance sampling."""
    shown = torch.maximum(target.power - target.noise, encoder_floor * target.power)
    z, log_q = target.encode(shown).rsample(DRAWS, streams)
    joint = target.log_likelihood(target.prior.decode(z)) + target.prior.log_prior(z)
    return torch.logsumexp(joint - log_q, 1) - math.log(DRAWS)
