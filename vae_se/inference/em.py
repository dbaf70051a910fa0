"""Monte Carlo EM: E-step, M-step, and at the end the filter. Resumes from its own output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ..errors import UsageError
from ..numerics import POWER_FLOOR
from ..rng import Streams
from .convergence import recording_rhat
from .estep.base import EStep
from .gain import Gain
from .initialisation import fit_start, pick_start
from .multistart import candidates, likeliest
from .speech_presence import pause_attenuation, speech_evidence, speech_presence
from .target import Target
from .wiener import FilterMoments


@dataclasses.dataclass(frozen=True)
class EMState:
    """All that EM carries: parameters, the E-step's state, and the trace so far.

    ``gain`` (B, N); ``proposal``: what the noisy encoder or a trial said of the latents, or None;
    ``drive`` (B, N, U): the input of a prior that takes one, made from what the encoder was shown at the start;
    ``trace`` holds per iteration the objective, the effective sample size and the acceptance (or None), each
    (B,).
    """

    noise: Any
    gain: torch.Tensor
    estep: Any
    iteration: int = 0
    trace: tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None], ...] = ()
    proposal: Any = None
    drive: torch.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What EM found: ``wiener`` (E[s | x] = wiener * x), ``variance`` of the speech and of the ``noise``
    (B, N, F), the state to go on from, and ``rhat`` (B,) of the chains that the filter averages over (None
    where there are none)."""

    wiener: torch.Tensor
    variance: torch.Tensor
    noise: torch.Tensor
    state: EMState
    rhat: torch.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class MonteCarloEM:
    """The loop of Wei and Tanner (A Monte Carlo implementation of the EM algorithm, 1990) for
    x = s + b with a learnt prior on s and a noise model fitted to the recording.

    ``prior``: SpeechPrior; ``noise``: NoiseModel; ``estep``: EStep; ``iterations``: EM iterations (a fixed
    number: a Monte Carlo objective falls now and then, which is no reason to stop); ``averaging``: E-steps
    after the last M-step whose draws the filter averages over; ``encoder_floor``: at the start the encoder
    sees the power less the noise model's start, and at least this part of the power (1: the noisy power);
    ``pause_db``: how much further frames without speech are turned down (presence.py).
    ``noisy_encoder``: a network (noisy_encoder/network.py) that has learnt to tell latents and noise of noisy
    recordings; it then replaces the encoder, as the start of the latents and as a proposal, and the noise
    starts at what it says. ``starts``: how many starts are tried by a short run each (basin.py).
    """

    prior: Any
    noise: Any
    estep: EStep
    gain: Gain
    iterations: int = 60
    averaging: int = 4
    encoder_floor: float = 0.05
    pause_db: float = 0.0
    noisy_encoder: Any = None
    starts: int = 1

    def __post_init__(self) -> None:
        if self.iterations < 0 or min(self.averaging, self.starts) < 1:
            raise UsageError(
                f"{self.iterations} iterations, averaging over {self.averaging} E-steps, {self.starts} starts",
                "iterations are 0 or more, averaging and starts are 1 or more",
            )
        if not self.pause_db >= 0:
            raise UsageError(f"pauses turned down by {self.pause_db} dB", "inference.pause_db is 0 or more")
        if not 0 < self.encoder_floor <= 1:
            raise UsageError(f"encoder floor {self.encoder_floor}", "it is above 0 and at most 1")

    @torch.no_grad()
    def start(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> EMState:
        """Parameters and latents before the first iteration; ``power`` (B, N, F), ``mask`` (B, N)."""
        if self.starts > 1:
            best = likeliest(candidates(self, self.starts), power, mask, streams)
            return self._begin(best.noise, best.gain, power + POWER_FLOOR, mask, best.posterior, streams)
        power = power + POWER_FLOOR
        noise, proposal = self.noise.init(power, mask, streams), None
        if self.noisy_encoder is not None:
            found = self.noisy_encoder(power, mask)
            proposal = found.posterior
            noise = fit_start(self.noise, noise, found.log_noise.exp(), mask)
        if self.noise.has_alternatives:
            noise = pick_start(self.noise, noise, power, mask, self.prior, self.encoder_floor, streams)
        return self._begin(noise, torch.ones_like(mask), power, mask, proposal, streams)

    def _begin(
        self,
        noise: Any,
        gain: torch.Tensor,
        power: torch.Tensor,
        mask: torch.Tensor,
        proposal: Any,
        streams: Streams,
    ) -> EMState:
        target = Target(self.prior, power, self.noise.variance(noise), gain, mask, proposal)
        # The encoder has seen clean speech only.
        cleaned, drive = target.less_noise(self.encoder_floor), None
        if self.prior.takes_activity:
            drive = self.prior.activity(cleaned)
            target = dataclasses.replace(target, prior=self.prior.driven_by(drive))
        return EMState(noise, gain, self.estep.init(target, cleaned, streams), proposal=proposal, drive=drive)

    @torch.no_grad()
    def run(
        self,
        power: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
        state: EMState | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Estimate:
        """Iterate up to ``iterations`` in all, then filter.

        ``power`` (B, N, F) of recordings at the prior's level, ``mask`` (B, N) with 1 where a frame exists;
        ``state``: where an earlier run stopped (its streams restored by the caller). ``progress`` is called
        with the iterations done and their number.
        """
        state = state or self.start(power, mask, streams)
        power = power + POWER_FLOOR
        while state.iteration < self.iterations:
            state = self._iterate(state, power, mask, streams)
            if progress is not None:
                progress(state.iteration, self.iterations)
        moments, target, kernel = FilterMoments.none(power), self._target(state, power, mask), state.estep
        joints, evidence = [], torch.zeros_like(mask)
        for _ in range(self.averaging):
            kernel, info = self.estep.step(target, kernel, streams)
            joints.append(info.joint)
            moments.add(target, kernel.samples)
            if self.pause_db:
                evidence += speech_evidence(target, kernel.samples) / self.averaging
            if self.noise.auxiliary:
                speech = target.speech_variance(kernel.samples.log_variance)
                log_weight = kernel.samples.log_weight
                noise = self.noise.sample_auxiliary(state.noise, power, speech, log_weight, mask, streams)
                state = dataclasses.replace(state, noise=noise)
                target = self._target(state, power, mask)
        rhat = recording_rhat(joints, mask)
        mean = moments.mean()
        if self.pause_db:
            presence = speech_presence(evidence, mask)
            mean = mean * pause_attenuation(presence, mask, self.pause_db).unsqueeze(-1)
        return Estimate(mean, moments.variance(target), target.noise, state, rhat)

    def _target(self, state: EMState, power: torch.Tensor, mask: torch.Tensor) -> Target:
        prior = self.prior if state.drive is None else self.prior.driven_by(state.drive)
        return Target(prior, power, self.noise.variance(state.noise), state.gain, mask, state.proposal)

    def _iterate(self, state: EMState, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> EMState:
        target = self._target(state, power, mask)
        kernel, info = self.estep.step(target, state.estep, streams)
        samples = kernel.samples
        gain = self.gain.update(target, samples.log_variance, samples.log_weight)
        # The noise must see the speech variance at the new gain.
        speech = dataclasses.replace(target, gain=gain).speech_variance(samples.log_variance)
        noise = self.noise.sample_auxiliary(state.noise, power, speech, samples.log_weight, mask, streams)
        noise = self.noise.update(noise, power, speech, samples.log_weight, mask)
        entry = (info.objective, info.ess, info.acceptance)
        return dataclasses.replace(
            state,
            noise=noise,
            gain=gain,
            estep=kernel,
            iteration=state.iteration + 1,
            trace=(*state.trace, entry),
        )
