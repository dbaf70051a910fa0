"""Model comparison by held-out bins: fit a model without some of the bins, and predict them.

The likelihood of the bins that a model is fitted to rises with every parameter that it has. The likelihood of
bins that it has not seen need not, and so compares noise models and ranks (cross-validation: Stone,
Cross-validatory choice and assessment of statistical predictions, 1974).

Bins are left out in patches, since neighbouring bins share samples: a bin by itself is known from its
neighbours. A bin that is left out is missing data to EM. With V_old its variance at the present parameters, the
expected log-likelihood of x ~ N_c(0, V_old) is -log V - V_old / V, up to a constant: the bin counts with the
power V_old, which is computed anew in every iteration.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from ..likelihood import complex_gaussian_log_prob
from ..numerics import POWER_FLOOR
from ..rng import Streams
from .draws import Draws
from .em import EMState, step
from .monte_carlo_em import MonteCarloEM
from .target import Target

#: Frames and bins of a patch, and the part of all bins that the patches cover if none overlap.
PATCH = (6, 6)
PART = 0.1
#: Frames and bins over which the power is averaged for a first guess of what was left out.
_GUESS = (15, 9)
#: Values of the impulse variables of heavy-tailed noise in a prediction.
_IMPULSES = 16


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How well the bins that a model was fitted without are predicted.

    ``log_density`` (B, N, F): log p(x_fn | the other bins) in nats, 0 where a bin was not held out; ``held``
    (B, N, F): where bins were held out.
    """

    log_density: torch.Tensor
    held: torch.Tensor

    def score(self) -> torch.Tensor:
        """Mean log-density of the bins that were held out, (B,), in nats a bin; NaN where there are none."""
        return self.log_density.sum((1, 2)) / self.held.sum((1, 2))

    def advantage(self, other: HeldOut) -> tuple[torch.Tensor, torch.Tensor]:
        """Score less that of ``other`` for the same bins, and its standard error, both (B,).

        The error is that of sums over blocks of frames as long as a patch, which are taken for independent.
        """
        blocks = [
            torch.nn.functional.pad(values, (0, -values.shape[1] % PATCH[0]))
            .unflatten(1, (-1, PATCH[0]))
            .sum(-1)
            for values in ((self.log_density - other.log_density).sum(-1), self.held.float().sum(-1))
        ]
        total, count = blocks
        mean = total.sum(1) / count.sum(1)
        error = (total - mean.unsqueeze(1) * count).square().sum(1).sqrt() / count.sum(1)
        return mean, error


def patches(mask: torch.Tensor, bins: int, streams: Streams, part: float = PART) -> torch.Tensor:
    """Random patches of bins, boolean (B, N, F), in the valid frames of ``mask`` (B, N).

    ``part``: of all bins; what is covered is a little less, since patches overlap.
    """
    start = streams.uniform(bins) < part / math.prod(PATCH)
    held = start.float().unsqueeze(1)
    # A patch begins at its start and extends to later frames and higher bins.
    padded = torch.nn.functional.pad(held, (PATCH[1] - 1, 0, PATCH[0] - 1, 0))
    grown = torch.nn.functional.max_pool2d(padded, PATCH, 1)[:, 0]
    return (grown > 0) & (mask.unsqueeze(-1) > 0)


def first_guess(power: torch.Tensor, held: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``power`` (B, N, F), with the mean of the observed neighbours where bins are ``held`` out."""
    seen = ((~held) & (mask.unsqueeze(-1) > 0)).to(power.dtype)
    sizes = [values.unsqueeze(1) for values in (power * seen, seen)]
    padding = (_GUESS[0] // 2, _GUESS[1] // 2)
    total, count = (torch.nn.functional.avg_pool2d(v, _GUESS, 1, padding)[:, 0] for v in sizes)
    return torch.where(held, total / count.clamp(min=1e-9), power)


@torch.no_grad()
def held_out(
    em: MonteCarloEM, power: torch.Tensor, mask: torch.Tensor, streams: Streams, part: float = PART
) -> HeldOut:
    """Run EM without random patches of bins and predict them.

    ``power`` |x|^2 (B, N, F) at the prior's level, ``mask`` (B, N), ``part``: of the bins that is held out. The
    bins depend on ``streams`` alone, so that models which are given equal streams predict the same bins. The
    prediction is that of EM; the noisy encoder's own posterior, with which the result of an enhancement is
    pooled, has no part in it.
    """
    held = patches(mask, power.shape[-1], streams, part)
    seen = first_guess(power, held, mask)
    state = em.start(seen, mask, streams)
    while state.iteration < em.iterations:
        seen = torch.where(held, _variance(em.target(power, mask, state), state.estep.draws), power)
        state, _ = step(em, seen, mask, state, streams)
    log_density = _predicted(em, power, seen, held, mask, state, streams)
    return HeldOut(log_density, held)


def _variance(target: Target, draws: Draws) -> torch.Tensor:
    """E|x|^2 (B, N, F) at the present parameters."""
    weight = draws.log_weight.exp().unsqueeze(-1)
    return (weight * target.speech_variance(draws.log_variance)).sum(1) + target.noise


def _predicted(
    model: MonteCarloEM,
    power: torch.Tensor,
    seen: torch.Tensor,
    held: torch.Tensor,
    mask: torch.Tensor,
    state: EMState,
    streams: Streams,
) -> torch.Tensor:
    """log p(x_fn | the other bins), (B, N, F), 0 where a bin is not ``held`` out.

    ``seen``: the power without these bins. The density is the mean over the draws of ``averaging`` E-steps and
    over the prior of the impulse variables.
    """
    estep, parts = model.estep.frozen(state.estep), []
    target = model.target(seen, mask, state)
    scale = model.noise.variance_without_impulses(state.noise)
    impulses = model.noise.impulse_quantiles(_IMPULSES)
    for _ in range(model.averaging):
        estep, _ = model.estep.step(target, estep, streams)
        speech = target.speech_variance(estep.draws.log_variance)
        for impulse in impulses:
            log_density = complex_gaussian_log_prob(
                (power + POWER_FLOOR).unsqueeze(1), (speech + impulse * scale.unsqueeze(1)).log()
            )
            parts.append(torch.logsumexp(log_density + estep.draws.log_weight.unsqueeze(-1), 1))
    mean = torch.logsumexp(torch.stack(parts), 0) - math.log(len(parts))
    return torch.where(held, mean, 0.0)
