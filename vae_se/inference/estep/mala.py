"""Langevin dynamics with Metropolis-Hastings acceptance."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import accept, chain_info
from .gradient import joint_point
from .langevin import log_proposal, preconditioner, propose, renewed
from .step_size import StepSize


@dataclasses.dataclass(frozen=True)
class AdjustedState:
    """The chains z (B, R, N, L), the draws made of them, the step size, and the preconditioner (or None)."""

    z: torch.Tensor
    draws: Draws
    size: StepSize
    root: torch.Tensor | None


@ESTEPS.add("mala")
@dataclasses.dataclass(frozen=True)
class AdjustedLangevin(EStep[AdjustedState]):
    """Langevin moves z -> z', accepted with min(1, p(x, z') q(z | z') / (p(x, z) q(z' | z))), frame by frame.

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``step_size``: standard deviation of the
    noise of the first proposals. During the first ``adaptation`` E-steps the step size follows the acceptance
    towards ``target_acceptance``, frame by frame; where EM begins to average it is frozen in any case.
    ``precondition``: as of ``langevin``, frozen with the step size. There is no total variation: it would tie
    the frames together, and acceptance frame by frame would be wrong.

    Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete approximations,
    1996; the rate 0.574: Roberts and Rosenthal, Optimal scaling of discrete approximations to Langevin
    diffusions, 1998.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 2
    sweeps: int = 4
    step_size: float = 0.1
    target_acceptance: float = 0.574
    adaptation: int = 30
    precondition: bool = False

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> AdjustedState:
        """The chains start at draws from the initial posterior."""
        z, _ = target.initial_posterior(power).rsample(self.draws, streams)
        size = StepSize.start(target.gain, self.step_size, self.target_acceptance, self.adaptation)
        root = preconditioner(target, z) if self.precondition else None
        return AdjustedState(z, Draws.equal(z, target.decode(z)), size, root)

    def step(self, target: Target, state: AdjustedState, streams: Streams) -> tuple[AdjustedState, EStepInfo]:
        """``sweeps`` proposals for every chain and frame."""
        size, root = state.size, state.root
        if size.adapting:
            root = renewed(root, target, state.z, size.steps)
        # The parameters are new in every E-step, and so is the gradient at the same z.
        point = joint_point(target, state.z)
        taken = torch.zeros_like(point.value)
        for _ in range(self.sweeps):
            step = size.value
            new = joint_point(target, propose(point, step, streams, root))
            back, forth = log_proposal(point.z, new, step, root), log_proposal(new.z, point, step, root)
            log_ratio = new.value - point.value + back - forth
            point, accepted = accept(target, point, new, log_ratio, streams)
            size = size.adapted(accepted)
            taken += accepted
        draws, info = chain_info(target, point.z, point.log_variance, point.value, taken / self.sweeps)
        return AdjustedState(point.z, draws, size.after_step(), root), info

    def frozen(self, state: AdjustedState) -> AdjustedState:
        """The state whose step size and preconditioner stay as they are."""
        return dataclasses.replace(state, size=state.size.frozen())
