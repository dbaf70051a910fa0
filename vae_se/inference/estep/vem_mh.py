"""Metropolis-Hastings in the coordinates of a variational Gaussian."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import Chains, accept, chain_info
from .gradient import Point, joint_point
from .hamiltonian import ACCEPTANCE, gaussian, longest_step, path
from .step_size import StepSize
from .vem_full import FullState, FullVariational, gauss_newton

#: Acceptance rate of the random walk of a frame.
ACCEPTANCE_OF_A_FRAME = 0.3


@dataclasses.dataclass(frozen=True)
class GaussianMHState:
    """q, the chains, the draws of the last step, and the step size.

    ``chains``: a Point where the prior ties the frames together; None while q is being fitted.
    """

    fit: FullState
    chains: Chains | Point | None
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
    ``target_acceptance`` (default 0.3), frame by frame, up to 1. Where EM begins to average, both phases end in
    any case.

    If the prior ties the frames together, there is one decision for all frames of a recording, and a random
    walk that it accepts hardly moves. Then the proposal of an E-step is the end of one path of Hamiltonian
    dynamics in the same coordinates (:mod:`.hamiltonian`): ``sweeps`` steps of length ``step_size`` at first,
    whose adapted length has an acceptance of ``target_acceptance`` (default 0.65).

    Rudolf and Sprungk, On a generalization of the preconditioned Crank-Nicolson Metropolis algorithm, 2018.
    """

    trajectories: ClassVar[bool] = True
    by_frame: ClassVar[bool] = True
    draws: int = 4
    sweeps: int = 4
    step_size: float = 0.5
    target_acceptance: float | None = None
    adaptation: int = 20
    warmup: int = 16

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> GaussianMHState:
        """q starts around the mean of the initial posterior."""
        fit = FullVariational().init(target, power, streams)
        usual, largest = (
            (ACCEPTANCE, longest_step(self.sweeps)) if target.tied else (ACCEPTANCE_OF_A_FRAME, 1.0)
        )
        acceptance, first = self.target_acceptance or usual, min(self.step_size, largest)
        size = StepSize.start(target.gain, first, acceptance, self.adaptation, largest)
        return GaussianMHState(fit, None, fit.draws, size)

    def step(
        self, target: Target, state: GaussianMHState, streams: Streams
    ) -> tuple[GaussianMHState, EStepInfo]:
        """One step of the fit, ``sweeps`` proposals for every chain and frame, or a path of every chain."""
        fit, chains = state.fit, state.chains
        if fit.steps < self.warmup:
            return self._fit(target, state, streams)
        if chains is None:
            mean = fit.q.mean
            q = gaussian(target, mean, streams) if target.tied else gauss_newton(target, mean)
            fit = dataclasses.replace(fit, q=q)
        z = fit.q.draw(self.draws, streams) if chains is None else chains.z
        if target.tied:
            return self._along_a_path(target, fit, z, state.size, streams)
        here = chains.under(target) if isinstance(chains, Chains) else Chains.at(target, z)
        return self._random_walk(target, fit, here, state.size, streams)

    def _random_walk(
        self, target: Target, fit: FullState, chains: Chains, size: StepSize, streams: Streams
    ) -> tuple[GaussianMHState, EStepInfo]:
        """``sweeps`` proposals for every chain and frame."""
        q = fit.q
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

    def _along_a_path(
        self, target: Target, fit: FullState, z: torch.Tensor, size: StepSize, streams: Streams
    ) -> tuple[GaussianMHState, EStepInfo]:
        """One path from the trajectories z (B, R, N, L) of all chains.

        While the step size adapts, q is made anew around their mean at E-steps 1, 2, 4, 8 and so on: paths
        along the shape of the posterior at other parameters need ever smaller steps.
        """
        if size.adapting and size.steps and not size.steps & (size.steps - 1):
            fit = dataclasses.replace(fit, q=gaussian(target, z.mean(1), streams))
        # The parameters are new in every E-step, and so is the gradient at the same z.
        point = joint_point(target, z)
        end, log_ratio = path(target, fit.q, point, size.value, self.sweeps, streams)
        point, accepted = accept(target, point, end, log_ratio, streams)
        draws, info = chain_info(target, point.z, point.log_variance, point.value, accepted.to(z.dtype))
        return GaussianMHState(fit, point, draws, size.adapted(accepted).after_step()), info

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
