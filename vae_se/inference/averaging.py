"""The end of a run: the filter, averaged over further E-steps at the final parameters."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import blockwise
from ..rng import Streams
from .calibration import UNCALIBRATED, Calibration
from .convergence import recording_rhat
from .em import EMState, Model
from .noisy_proposal import Proposal
from .pooling import ALONE, FilterPool
from .speech_presence import attenuated_variance, pause_attenuation, speech_evidence, speech_presence
from .wiener import FilterMoments, filter_moments


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The result of EM.

    ``wiener``: filter of the posterior mean, E[s | x] = wiener * x; ``variance`` of the speech (calibrated) and
    of the ``noise``, all (B, N, F); ``state``: where EM can resume; ``rhat`` (B,): R-hat of the chains over the
    E-steps that the filter averages over, or None where there are no chains or fewer than four E-steps;
    ``energies`` (B, 2): sums over frames and bins of |E[s | x]|^2 and of the variance of the speech;
    ``filter_sums`` (B, 2): of the filter and its square;
    ``presence`` (B, N): probability that a frame holds speech, where it was computed.
    """

    wiener: torch.Tensor
    variance: torch.Tensor
    noise: torch.Tensor
    state: EMState
    rhat: torch.Tensor | None
    energies: torch.Tensor
    filter_sums: torch.Tensor
    presence: torch.Tensor | None = None


@torch.no_grad()
def averaged_filter(
    model: Model,
    power: torch.Tensor,
    mask: torch.Tensor,
    state: EMState,
    streams: Streams,
    averaging: int,
    pause_db: float = 0.0,
    pool: FilterPool = ALONE,
    calibration: Calibration = UNCALIBRATED,
    presence: bool = False,
) -> Estimate:
    """The posterior filter over the draws of ``averaging`` E-steps that follow ``state``.

    Kernels that adapt their proposals stop doing so before the first of these E-steps; the returned state is
    not affected. ``pause_db``: additional attenuation of frames without speech; ``pool``: what becomes of the
    result and the noisy encoder's own posterior of the speech; ``calibration``: of the variance; ``presence``:
    compute the probability of speech in any case. Hidden variables of the noise are drawn anew after every
    E-step.
    """
    total: FilterMoments | None = None
    joints, evidence, estep = [], torch.zeros_like(mask), model.estep.frozen(state.estep)
    for _ in range(averaging):
        target = model.target(power, mask, state)
        estep, info = model.estep.step(target, estep, streams)
        draws = estep.draws
        total = filter_moments(target, draws, total)  # posterior_filter, at the target that is at hand
        joints.append(info.joint)
        if pause_db or presence:
            evidence += speech_evidence(target, draws) / averaging
        if model.noise.auxiliary:
            speech = target.speech_variance(draws.log_variance)
            noise = model.noise.sample_auxiliary(
                state.noise, target.power, speech, draws.log_weight, mask, streams
            )
            state = dataclasses.replace(state, noise=noise)
    assert total is not None, "averaging is at least 1"
    target = model.target(power, mask, state)
    wiener, variance = pooled_filter(total, target.power, state.proposal, pool, calibration)
    probability = speech_presence(evidence, mask, model.prior.signal) if pause_db or presence else None
    if pause_db and probability is not None:
        factor = pause_attenuation(probability, mask, pause_db, model.prior.signal)
        variance = attenuated_variance(variance, wiener.square() * target.power, factor, pause_db)
        wiener = wiener * factor.unsqueeze(-1)
    square = wiener.square()
    filter_sums = torch.stack([wiener.sum(-1), square.sum(-1)], -1)
    energies = torch.stack([square.mul_(target.power).sum(-1), variance.sum(-1)], -1)
    energies, filter_sums = ((sums * mask.unsqueeze(-1)).sum(1) for sums in (energies, filter_sums))
    rhat = recording_rhat(joints, mask)
    return Estimate(wiener, variance, target.noise, state, rhat, energies, filter_sums, probability)


def pooled_filter(
    total: FilterMoments,
    power: torch.Tensor,
    proposal: Proposal | None,
    pool: FilterPool,
    calibration: Calibration,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The filter and the calibrated variance of the speech, (B, N, F) each, pooled with those of the noisy
    encoder where it has a weight, and moved towards the learnt gain."""

    def of_block(frames: slice) -> tuple[torch.Tensor, torch.Tensor]:
        part, here = total.at(frames), power[:, frames]
        wiener, variance = part.mean(), part.variance(here)
        if proposal is not None:
            own = proposal.wiener[:, frames], proposal.variance[:, frames]
            wiener, variance = pool(own, (wiener, variance))
        return wiener.unsqueeze(1), calibration.variance(variance, wiener).unsqueeze(1)

    wiener, variance = blockwise(of_block, power.unsqueeze(1).expand(-1, pool.width, -1, -1))
    return wiener[:, 0], variance[:, 0]
