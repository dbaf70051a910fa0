"""Metropolis-Hastings in the coordinates of a variational Gaussian."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import Chains, accept, chain_info
from .step_size import StepSize
from .vem_full import FullState, FullVariational, gauss_newton


@dataclasses.dataclass(frozen=True)
class GaussianMHState:
    """q, the chains (None while q is being fitted), the draws of the last step, and the step size."""

    fit: FullState
    chains: Chains | None
    draws: Draws
    size: StepSize


@ESTEPS.add("vem-mh")
@dataclasses.dataclass(frozen=True)
class GaussianMH(EStep[GaussianMHState]):
    """Proposals z' = m + sqrt(1 - b^2) (z - m) + b S^(1/2) epsilon around q = N(m, S), accepted with
    min(1, p(x, z') q(z) / (p(x, z) q(z'))).

    The proposal is reversible with respect to q, so rejections come only from the difference between q and the
    posterior: b = 1 is an independence chain, a small b a random walk in the shape of the posterior.

    ``warmup``: E-steps of ``vem-full`` (at its defaults) that fit q and provide the draws; then q is frozen,
    and R = ``draws`` parallel chains start at draws from it. ``sweeps``: proposals per E-step; ``step_size``:
    the first b. During the first ``adaptation`` E-steps of the chains b follows the acceptance towards
    ``target_acceptance``, frame by frame, up to 1. Where EM begins to average, both phases end in any case.

    Rudolf and Sprungk, On a generalization of the preconditioned Crank-Nicolson Metropolis algorithm, 2018.
    """

    draws: int = 4
    sweeps: int = 4
    step_size: float = 0.5
    target_acceptance: float = 0.3
    adaptation: int = 20
    warmup: int = 16

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> GaussianMHState:
        """q starts around the mean of the initial posterior."""
        fit = FullVariational().init(target, power, streams)
        size = StepSize.start(target.gain, self.step_size, self.target_acceptance, self.adaptation, largest=1.0)
        return GaussianMHState(fit, None, fit.draws, size)

    def step(
        self, target: Target, state: GaussianMHState, streams: Streams
    ) -> tuple[GaussianMHState, EStepInfo]:
        """One step of the fit, or ``sweeps`` proposals for every chain and frame."""
        fit = state.fit
        if fit.steps < self.warmup:
            return self._fit(target, state, streams)
        if state.chains is None:
            fit = dataclasses.replace(fit, q=gauss_newton(target, fit.q.mean))
            chains = Chains.at(target, fit.q.draw(self.draws, streams))
        else:
            chains = state.chains.under(target)
        q, size = fit.q, state.size
        epsilon = q.whiten(chains.z)
        log_weight = _log_weight(chains, epsilon)
        taken = torch.zeros_like(log_weight)
        for _ in range(self.sweeps):
            b = size.value
            noise = streams.normal_draws(self.draws, epsilon.shape[-1], dtype=epsilon.dtype)
            moved = pull(b) * epsilon + b * noise
            proposed = Chains.at(target, q.mean.unsqueeze(1) + q.spread(moved))
            new = _log_weight(proposed, moved)
            chains, accepted = accept(target, chains, proposed, new - log_weight, streams)
            epsilon = torch.where(accepted.unsqueeze(-1), moved, epsilon)
            log_weight = torch.where(accepted, new, log_weight)
            size = size.adapted(accepted)
            taken += accepted
        joint = log_weight - 0.5 * epsilon.square().sum(-1)
        draws, info = chain_info(target, chains.z, chains.log_variance, joint, taken / self.sweeps)
        return GaussianMHState(fit, chains, draws, size.after_step()), info

    def frozen(self, state: GaussianMHState) -> GaussianMHState:
        """The state whose step size stays as it is; a warm-up that is not complete ends here."""
        fit = dataclasses.replace(state.fit, steps=max(state.fit.steps, self.warmup))
        return dataclasses.replace(state, fit=fit, size=state.size.frozen())

    def _fit(
        self, target: Target, state: GaussianMHState, streams: Streams
    ) -> tuple[GaussianMHState, EStepInfo]:
        """One step of ``vem-full``, reported with the objective of the chains."""
        fit, _ = FullVariational().step(target, state.fit, streams)
        z, log_variance = fit.draws.z, fit.draws.log_variance
        joint = target.log_likelihood(log_variance) + target.prior.log_prior(z)
        draws, info = chain_info(target, z, log_variance, joint, None)
        # There are no chains yet: successive draws are independent.
        info = dataclasses.replace(info, joint=None)
        return dataclasses.replace(state, fit=fit, draws=draws), info


def pull(step: torch.Tensor) -> torch.Tensor:
    """sqrt(1 - b^2), which makes the proposal reversible with respect to N(0, I).

    >>> pull(torch.tensor([0.0, 0.6, 1.0]))
    tensor([1.0000, 0.8000, 0.0000])
    """
    return (1 - step.square()).sqrt()


def _log_weight(chains: Chains, epsilon: torch.Tensor) -> torch.Tensor:
    """log p(x, z) - log q(z) up to a constant of the frame, (B, R, N)."""
    return chains.log_joint + 0.5 * epsilon.square().sum(-1)
