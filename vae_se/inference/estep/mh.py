"""Random-walk Metropolis-Hastings."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import Chains, accept, chain_info
from .step_size import StepSize


@dataclasses.dataclass(frozen=True)
class RandomWalkState:
    """The chains, the draws made of them, and the step size."""

    chains: Chains
    draws: Draws
    size: StepSize


@ESTEPS.add("mh")
@dataclasses.dataclass(frozen=True)
class RandomWalkMH(EStep[RandomWalkState]):
    """Proposals z' = z + step * epsilon, epsilon ~ N(0, I), accepted with min(1, p(x, z') / p(x, z)).

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``step_size``: standard deviation of the
    first proposals. During the first ``adaptation`` E-steps the step size follows the acceptance towards
    ``target_acceptance``, frame by frame; where EM begins to average it is frozen in any case.

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018; the rate 0.234: Roberts, Gelman and Gilks, Weak convergence and optimal scaling of random
    walk Metropolis algorithms, 1997. Departure from the former: parallel chains in place of one long chain.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 4
    sweeps: int = 10
    step_size: float = 0.1
    target_acceptance: float = 0.234
    adaptation: int = 30

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> RandomWalkState:
        """The chains start at draws from the initial posterior."""
        z, _ = target.initial_posterior(power).rsample(self.draws, streams)
        chains = Chains.at(target, z)
        size = StepSize.start(target.gain, self.step_size, self.target_acceptance, self.adaptation)
        return RandomWalkState(chains, Draws.equal(z, chains.log_variance), size)

    def step(
        self, target: Target, state: RandomWalkState, streams: Streams
    ) -> tuple[RandomWalkState, EStepInfo]:
        """``sweeps`` proposals for every chain and frame."""
        chains, size = state.chains.under(target), state.size
        taken = torch.zeros_like(chains.log_joint)
        for _ in range(self.sweeps):
            epsilon = streams.normal_draws(self.draws, chains.z.shape[-1], dtype=chains.z.dtype)
            proposed = Chains.at(target, chains.z + size.value * epsilon)
            log_ratio = proposed.log_joint - chains.log_joint
            chains, accepted = accept(target, chains, proposed, log_ratio, streams)
            size = size.adapted(accepted)
            taken += accepted
        draws, info = chain_info(target, chains.z, chains.log_variance, chains.log_joint, taken / self.sweeps)
        return RandomWalkState(chains, draws, size.after_step()), info

    def frozen(self, state: RandomWalkState) -> RandomWalkState:
        """The state whose step size stays as it is."""
        return dataclasses.replace(state, size=state.size.frozen())
