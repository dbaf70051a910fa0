"""Independence Metropolis-Hastings with the encoder, and what the weights teach, as proposal."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, Info
from .chain import Chains, accept, chain_info
from .proposal import Proposal


@dataclasses.dataclass(frozen=True)
class EncoderMHState:
    """The chains, the draws made of them, what is proposed from, the steps done."""

    chains: Chains
    samples: Draws
    proposal: Proposal
    steps: int


@ESTEPS.add("encoder-mh")
@dataclasses.dataclass(frozen=True)
class EncoderMH:
    """Proposals z' ~ q(z), accepted with min(1, p(x, z') q(z) / (p(x, z) q(z'))).

    q is the mixture of proposal.py: the encoder at y, and a Gaussian that follows the weights of what was
    proposed. During the first ``adaptation`` steps q learns, and y is the posterior power of the speech as the
    chains have it (``refresh``), and not the first estimate of it for ever. Then q is frozen: a proposal that
    goes on depending on where the chains stand would not leave the posterior as it is.

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step.

    Hastings, Monte Carlo sampling methods using Markov chains and their applications, 1970, sec. 2.3 (the
    independence chain); Andrieu and Thoms, A tutorial on adaptive MCMC, 2008, for adaptation that ends.
    """

    draws: int = 4
    sweeps: int = 4
    refresh: bool = True
    adaptation: int = 30

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderMHState:
        """The chains start at draws from the encoder at ``power``."""
        proposal = Proposal.start(target.encode(power))
        z, _ = proposal.draw(self.draws, streams)
        chains = Chains.at(target, z)
        return EncoderMHState(chains, Draws.equal(chains.z, chains.log_variance), proposal, 0)

    def step(self, target: Target, state: EncoderMHState, streams: Streams) -> tuple[EncoderMHState, Info]:
        """``sweeps`` proposals for every chain and frame."""
        chains, proposal = state.chains, state.proposal
        adapting = state.steps < self.adaptation
        if adapting and self.refresh:
            shown = target.speech_power(state.samples.log_variance, state.samples.log_weight)
            proposal = proposal.shown(target.encode(shown))
        current = chains.log_joint(target) - proposal.log_prob(chains.z)
        accepted = torch.zeros_like(current)
        tried, weights = [], []
        for _ in range(self.sweeps):
            z, log_q = proposal.draw(self.draws, streams)
            proposed = Chains.at(target, z)
            new = proposed.log_joint(target) - log_q
            tried.append(z)
            weights.append(new)
            chains, taken = accept(target, chains, proposed, new - current, streams)
            current = torch.where(taken, new, current)
            accepted += taken
        if adapting:
            proposal = proposal.learn(torch.cat(tried, 1), torch.cat(weights, 1))
        joint, rate = chains.log_joint(target), accepted / self.sweeps
        samples, info = chain_info(target, chains.z, chains.log_variance, joint, rate)
        return EncoderMHState(chains, samples, proposal, state.steps + 1), info
