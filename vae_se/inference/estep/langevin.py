"""Langevin dynamics, as it is (``langevin``) and with Metropolis-Hastings acceptance (``mala``)."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..particles import Samples
from ..target import Target
from .base import ESTEPS, Info
from .chain import Chains, accept, chain_info
from .gradient import Point, joint_point


def drift(gradient: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """(step^2 / 2) grad log p(x, z), no longer than the typical noise, step * sqrt(L); shape (B, R, N, L).

    In equilibrium the squared gradient is the trace of the curvature on average, so the bound holds by
    itself where the step is in its stable range, step^2 curvature < 4; it matters far from the mode and in
    frames that fit nothing. It is a function of one frame and chain alone, hence a valid proposal
    (the truncated drift of Roberts and Tweedie, 1996, sec. 1.4.2).
    """
    move = 0.5 * step.square() * gradient
    bound = step * gradient.shape[-1] ** 0.5
    length = move.norm(dim=-1, keepdim=True)
    return move * (bound / length.clamp(min=1e-30)).clamp(max=1)


def log_proposal(to: torch.Tensor, start: Point, step: torch.Tensor) -> torch.Tensor:
    """log N(to; start + drift, step^2 I) less its normalisation, (B, R, N); not symmetric in its ends."""
    return -0.5 * ((to - start.z - drift(start.gradient, step)) / step).square().sum(-1)


def propose(start: Point, step: torch.Tensor, streams: Streams) -> torch.Tensor:
    """z + drift + step * epsilon, epsilon ~ N(0, I), (B, R, N, L)."""
    draws, latents = start.z.shape[1], start.z.shape[-1]
    epsilon = streams.normal(draws, latents, dtype=start.z.dtype).transpose(1, 2)
    return start.z + drift(start.gradient, step) + step * epsilon


@dataclasses.dataclass(frozen=True)
class LangevinState:
    """Where the next step starts, z (B, R, N, L), and the draws of the last one."""

    z: torch.Tensor
    samples: Samples


@ESTEPS.add("langevin")
@dataclasses.dataclass(frozen=True)
class Langevin:
    """z' = z + (step^2 / 2) grad log p(x, z) + step * epsilon, without acceptance, frame by frame.

    ``draws``: R parallel chains; ``sweeps``: moves per E-step; ``step_size``: the standard deviation of the
    noise. The variance of what it draws is too large by 1 / (1 - step^2 curvature / 4), and it diverges
    (as far as the bound on the drift lets it) where step^2 curvature exceeds 4: the step must be small.
    On examples/noisy.wav with the prior ``default`` the steps of ``mala`` settle between 0.05 and 0.16 in four
    frames of five. There 0.05 reaches the mean log p(x, z) of ``mala``; 0.1 stays 25 nats per frame below it,
    with an SI-SDR 0.3 dB higher; at 0.3 the result is ruined.

    Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
    approximations, 1996, sec. 1.4.1; for this model: Sadeghi and Serizel, Fast and efficient speech
    enhancement with variational autoencoders, 2023, without its total variation over time.
    """

    draws: int = 2
    sweeps: int = 2
    step_size: float = 0.1

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> LangevinState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        return LangevinState(z, Samples.equal(z, target.prior.decode(z)))

    def step(self, target: Target, state: LangevinState, streams: Streams) -> tuple[LangevinState, Info]:
        """``sweeps`` moves; the draws handed on are the last ones decoded, so that none is decoded twice."""
        z = state.z
        step = torch.full_like(target.gain, self.step_size)[:, None, :, None]
        for _ in range(self.sweeps):
            point = joint_point(target, z)
            z = propose(point, step, streams)
        samples, info = chain_info(target, Chains(point.z, point.log_variance), None, point.value)
        return LangevinState(z, samples), info


@dataclasses.dataclass(frozen=True)
class AdjustedState:
    """The chains, the draws made of them, the log step size per frame (B, N), the steps done."""

    chains: Chains
    samples: Samples
    log_step: torch.Tensor
    steps: int


@ESTEPS.add("mala")
@dataclasses.dataclass(frozen=True)
class AdjustedLangevin:
    """Langevin moves z -> z', accepted with min(1, p(x, z') q(z | z') / (p(x, z) q(z' | z))).

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``step_size``: the standard deviation of
    the noise of the first proposals. During the first ``adaptation`` steps the size follows the acceptance
    towards ``target_acceptance``, frame by frame, then it is frozen, as in mh.py.

    Roberts and Tweedie, 1996, sec. 1.4.2; the rate 0.574: Roberts and Rosenthal, Optimal scaling of
    discrete approximations to Langevin diffusions, 1998.
    """

    draws: int = 2
    sweeps: int = 4
    step_size: float = 0.1
    target_acceptance: float = 0.574
    adaptation: int = 30

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> AdjustedState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        chains = Chains(z, target.prior.decode(z))
        log_step = torch.full_like(target.gain, self.step_size).log()
        return AdjustedState(chains, Samples.equal(z, chains.log_variance), log_step, 0)

    def step(self, target: Target, state: AdjustedState, streams: Streams) -> tuple[AdjustedState, Info]:
        """``sweeps`` proposals for every chain and frame."""
        log_step = state.log_step
        # The parameters are new in every E-step, and so is the gradient at the same z.
        point = joint_point(target, state.chains.z)
        accepted = torch.zeros_like(point.value)
        for _ in range(self.sweeps):
            step = torch.exp(log_step)[:, None, :, None]
            new = joint_point(target, propose(point, step, streams))
            ratio = new.value - point.value
            ratio = ratio + log_proposal(point.z, new, step) - log_proposal(new.z, point, step)
            old = Chains(point.z, point.log_variance)
            chains, taken = accept(old, Chains(new.z, new.log_variance), ratio, streams)
            point = Point(
                chains.z,
                chains.log_variance,
                torch.where(taken, new.value, point.value),
                torch.where(taken.unsqueeze(-1), new.gradient, point.gradient),
            )
            accepted += taken
            if state.steps < self.adaptation:
                rate = taken.to(log_step.dtype).mean(1)
                log_step = log_step + (rate - self.target_acceptance) / (1 + state.steps) ** 0.6
        samples, info = chain_info(target, chains, accepted / self.sweeps, point.value)
        return AdjustedState(chains, samples, log_step, state.steps + 1), info
