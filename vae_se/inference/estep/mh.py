"""Random-walk Metropolis-Hastings."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, Info
from .chain import Chains, accept, chain_info


@dataclasses.dataclass(frozen=True)
class RandomWalkState:
    """The chains, the draws made of them, the log step size per frame (B, N), the steps done."""

    chains: Chains
    samples: Draws
    log_step: torch.Tensor
    steps: int


@ESTEPS.add("mh")
@dataclasses.dataclass(frozen=True)
class RandomWalkMH:
    """Proposals z' = z + step * epsilon, epsilon ~ N(0, I), accepted with min(1, p(x, z') / p(x, z)).

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``step_size``: the standard deviation
    (not the variance) of the first proposals. During the first ``adaptation`` steps the size follows the
    acceptance towards ``target_acceptance``, frame by frame, then it is frozen, so that what comes after
    is a Markov chain with the right stationary law.

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018, sec. 4.1; adaptation: Andrieu and Thoms, A tutorial on adaptive MCMC, 2008, sec. 4;
    the rate 0.234: Roberts, Gelman and Gilks, 1997. Departure: parallel chains in place of one long one.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 4
    sweeps: int = 10
    step_size: float = 0.1
    target_acceptance: float = 0.234
    adaptation: int = 30

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> RandomWalkState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        chains = Chains.at(target, z)
        log_step = torch.full_like(target.gain, self.step_size).log()
        return RandomWalkState(chains, Draws.equal(z, chains.log_variance), log_step, 0)

    def step(self, target: Target, state: RandomWalkState, streams: Streams) -> tuple[RandomWalkState, Info]:
        """``sweeps`` proposals for every chain and frame."""
        chains, log_step = state.chains, state.log_step
        current = chains.log_joint(target)
        accepted = torch.zeros_like(current)
        for _ in range(self.sweeps):
            epsilon = streams.normal(self.draws, chains.z.shape[-1], dtype=chains.z.dtype).transpose(1, 2)
            z = chains.z + torch.exp(log_step)[:, None, :, None] * epsilon
            proposed = Chains.at(target, z)
            new = proposed.log_joint(target)
            chains, taken = accept(target, chains, proposed, new - current, streams)
            current = torch.where(taken, new, current)
            accepted += taken
            if state.steps < self.adaptation:
                rate = taken.to(z.dtype).mean(1)
                log_step = log_step + (rate - self.target_acceptance) / (1 + state.steps) ** 0.6
        samples, info = chain_info(target, chains.z, chains.log_variance, current, accepted / self.sweeps)
        return RandomWalkState(chains, samples, log_step, state.steps + 1), info
