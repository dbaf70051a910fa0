"""Where the noise starts: fitted to a proposed variance; of rivals, the one that makes a frame likeliest."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..rng import Streams
from .target import Target

#: Draws from the encoder for each proposal: enough to rank proposals that differ by tens of nats.
DRAWS = 2

#: Updates that fit a noise model to a proposed variance: after these its divergence hardly falls.
FIT_UPDATES = 15


def fit_start(model: Any, state: Any, variance: torch.Tensor, mask: torch.Tensor) -> Any:
    """``state`` of a noise ``model`` fitted to a noise variance (B, N, F) that somebody proposes.

    The model's own updates, with the variance in place of the power and no speech: for an NMF they descend
    the Itakura-Saito divergence of W H from the proposal.
    """
    silence = torch.zeros_like(variance).unsqueeze(1)
    log_weight = torch.zeros_like(mask).unsqueeze(1)
    for _ in range(FIT_UPDATES):
        state = model.update(state, variance, silence, log_weight, mask)
    return state


def pick_start(
    model: Any,
    state: Any,
    power: torch.Tensor,
    mask: torch.Tensor,
    prior: Any,
    encoder_floor: float,
    streams: Streams,
) -> Any:
    """``state`` with, in every frame, the best of its own noise and that of ``model.alternatives``.

    For each proposal n the encoder is shown the power (B, N, F) less n, and log p(x_n) is estimated by
    importance sampling with DRAWS draws from what it says. A rival must win by ``model.margin`` nats: few draws
    find less of the evidence of speech, which has many shapes, than of noise, which here has one.
    Where the prior ties frames together this is a heuristic: frames are compared as if each stood alone.
    """
    states = [state, *model.alternatives(state, power, mask)]
    gain = torch.ones_like(mask)
    evidence = torch.stack(
        [_evidence(Target(prior, power, model.variance(s), gain, mask), encoder_floor, streams) for s in states]
    )
    evidence[1:] -= model.margin
    return model.pick(states, evidence.argmax(0))


def _evidence(target: Target, encoder_floor: float, streams: Streams) -> torch.Tensor:
    """log p(x_n), (B, N), by importance sampling."""
    z, log_q = target.encode(target.less_noise(encoder_floor)).rsample(DRAWS, streams)
    log_variance, log_prior = target.generate(z)
    joint = target.log_likelihood(log_variance) + log_prior
    return torch.logsumexp(joint - log_q, 1) - math.log(DRAWS)
