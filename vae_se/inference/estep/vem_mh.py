"""Metropolis-Hastings in the coordinates of a variational Gaussian."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, Info
from .chain import Chains, accept, chain_info
from .vem_full import FullState, FullVariational, gauss_newton


@dataclasses.dataclass(frozen=True)
class GaussianMHState:
    """q and its step; the chains (None while q is being fitted), the draws made of them, the log step size
    per frame (B, N), the steps done."""

    fit: FullState
    chains: Chains | None
    samples: Draws
    log_step: torch.Tensor
    steps: int


@ESTEPS.add("vem-mh")
@dataclasses.dataclass(frozen=True)
class GaussianMH:
    """Proposals z' = m + sqrt(1 - b^2) (z - m) + b S^(1/2) epsilon around q = N(m, S), accepted with
    min(1, p(x, z') q(z) / (p(x, z) q(z'))).

    The proposal leaves q as it is, so only what q misses of the posterior is ever rejected: b = 1 is an
    independence chain, a small b a random walk in the shape of the posterior.

    ``warmup``: E-steps by ``vem-full`` (at its defaults) that fit q, whose draws are handed on meanwhile; then q
    is frozen, and R = ``draws`` parallel chains start at draws from it. ``sweeps``: proposals per E-step;
    ``step_size``: the first b. During the first ``adaptation`` steps of the chains b follows the acceptance
    towards ``target_acceptance``, frame by frame, as in mh.py, up to 1.

    Rudolf and Sprungk, On a generalization of the preconditioned Crank-Nicolson Metropolis algorithm, 2018,
    sec. 3.
    """

    draws: int = 4
    sweeps: int = 4
    step_size: float = 0.5
    target_acceptance: float = 0.3
    adaptation: int = 20
    warmup: int = 16

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> GaussianMHState:
        """q starts around the mean of the encoder's posterior at ``power``."""
        fit = FullVariational().init(target, power, streams)
        log_step = torch.full_like(target.gain, self.step_size).log()
        return GaussianMHState(fit, None, fit.samples, log_step, 0)

    def step(self, target: Target, state: GaussianMHState, streams: Streams) -> tuple[GaussianMHState, Info]:
        """One step of the fit, or ``sweeps`` proposals for every chain and frame."""
        if state.steps < self.warmup:
            fit, _ = FullVariational().step(target, state.fit, streams)
            z, log_variance = fit.samples.z, fit.samples.log_variance
            joint = target.log_likelihood(log_variance) + target.prior.log_prior(z)
            samples, info = chain_info(target, z, log_variance, joint, None)
            # No chains yet: these draws are independent of those before.
            info = dataclasses.replace(info, joint=None)
            return dataclasses.replace(state, fit=fit, samples=samples, steps=state.steps + 1), info
        fit, chains, log_step = state.fit, state.chains, state.log_step
        if chains is None:
            fit = dataclasses.replace(fit, q=gauss_newton(target, fit.q.mean))
            chains = Chains.at(target, fit.q.draw(self.draws, streams))
        q, adapting = fit.q, state.steps - self.warmup < self.adaptation
        epsilon = q.whiten(chains.z)
        current = _log_weight(target, chains, epsilon)
        accepted = torch.zeros_like(current)
        for _ in range(self.sweeps):
            step = log_step.exp()[:, None, :, None]
            noise = streams.normal(self.draws, epsilon.shape[-1], dtype=epsilon.dtype).transpose(1, 2)
            moved = pull(step) * epsilon + step * noise
            proposed = Chains.at(target, q.mean.unsqueeze(1) + q.spread(moved))
            new = _log_weight(target, proposed, moved)
            chains, taken = accept(target, chains, proposed, new - current, streams)
            epsilon = torch.where(taken.unsqueeze(-1), moved, epsilon)
            current = torch.where(taken, new, current)
            accepted += taken
            if adapting:
                rate = taken.to(log_step.dtype).mean(1)
                size = (1 + state.steps - self.warmup) ** 0.6
                log_step = (log_step + (rate - self.target_acceptance) / size).clamp(max=0)
        joint, rate = current - 0.5 * epsilon.square().sum(-1), accepted / self.sweeps
        samples, info = chain_info(target, chains.z, chains.log_variance, joint, rate)
        return GaussianMHState(fit, chains, samples, log_step, state.steps + 1), info


def pull(step: torch.Tensor) -> torch.Tensor:
    """sqrt(1 - b^2): what makes the proposal reversible with respect to N(0, I)."""
    return (1 - step.square()).sqrt()


def _log_weight(target: Target, at: Chains, epsilon: torch.Tensor) -> torch.Tensor:
    """log p(x, z) - log q(z) up to a constant of the frame, (B, R, N)."""
    return at.log_joint(target) + 0.5 * epsilon.square().sum(-1)
