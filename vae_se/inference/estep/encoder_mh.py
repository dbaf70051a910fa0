"""Independence Metropolis-Hastings with the encoder as proposal."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..particles import Samples
from ..target import Target
from .base import ESTEPS, Info
from .chain import Chains, accept, chain_info


@dataclasses.dataclass(frozen=True)
class EncoderMHState:
    """The chains, and the draws made of them."""

    chains: Chains
    samples: Samples


@ESTEPS.add("encoder-mh")
@dataclasses.dataclass(frozen=True)
class EncoderMH:
    """Proposals z' ~ q(z | y), accepted with min(1, p(x, z') q(z | y) / (p(x, z) q(z' | y))).

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``refresh``: y is the posterior power
    of the speech at the start of the step (fixed within it, so detailed balance holds) and not the noisy
    power for ever.

    Hastings, Monte Carlo sampling methods using Markov chains and their applications, 1970, sec. 2.3 (the
    independence chain).
    """

    draws: int = 4
    sweeps: int = 4
    refresh: bool = True

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderMHState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        chains = Chains(z, target.prior.decode(z))
        return EncoderMHState(chains, Samples.equal(chains.z, chains.log_variance))

    def step(self, target: Target, state: EncoderMHState, streams: Streams) -> tuple[EncoderMHState, Info]:
        """``sweeps`` proposals for every chain and frame."""
        chains = state.chains
        power = target.power
        if self.refresh:
            power = target.speech_power(state.samples.log_variance, state.samples.log_weight)
        posterior = target.encode(power)

        def log_weight(at: Chains) -> torch.Tensor:
            joint = target.log_likelihood(at.log_variance) + target.prior.log_prior(at.z)
            return joint - posterior.log_prob(at.z)

        current = log_weight(chains)
        accepted = torch.zeros_like(current)
        for _ in range(self.sweeps):
            z, _ = posterior.rsample(self.draws, streams)
            proposed = Chains(z, target.prior.decode(z))
            new = log_weight(proposed)
            chains, taken = accept(chains, proposed, new - current, streams)
            current = torch.where(taken, new, current)
            accepted += taken
        samples, info = chain_info(target, chains, accepted / self.sweeps)
        return EncoderMHState(chains, samples), info
