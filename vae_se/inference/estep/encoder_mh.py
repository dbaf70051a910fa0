"""Independence Metropolis-Hastings with proposals from the encoder and a Gaussian that learns."""

from __future__ import annotations

import dataclasses

import torch

from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import Chains, accept, chain_info
from .proposal import Proposal


@dataclasses.dataclass(frozen=True)
class EncoderMHState:
    """The chains, the draws made of them, the proposal, and the number of steps done."""

    chains: Chains
    draws: Draws
    proposal: Proposal
    steps: int


@ESTEPS.add("encoder-mh")
@dataclasses.dataclass(frozen=True)
class EncoderMH(EStep[EncoderMHState]):
    """Proposals z' ~ q(z), accepted with min(1, p(x, z') q(z) / (p(x, z) q(z'))).

    q is the mixture in proposal.py: an encoder's posterior, and a Gaussian fitted to the weights of earlier
    proposals. During the first ``adaptation`` steps q learns, and with ``refresh`` its encoder's part is the
    posterior of the prior's encoder at the posterior power of the speech under the last draws. Then, or where
    EM begins to average, q is frozen, because chains whose proposal keeps depending on them do not have the
    posterior as stationary distribution.

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step.

    Hastings, Monte Carlo sampling methods using Markov chains and their applications, 1970 (the independence
    chain); Andrieu and Thoms, A tutorial on adaptive MCMC, 2008 (adaptation that ends).
    """

    draws: int = 4
    sweeps: int = 4
    refresh: bool = True
    adaptation: int = 30

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> EncoderMHState:
        """The chains start at draws from the initial posterior."""
        proposal = Proposal.start(target.initial_posterior(power))
        z, _ = proposal.draw(self.draws, streams)
        chains = Chains.at(target, z)
        return EncoderMHState(chains, Draws.equal(chains.z, chains.log_variance), proposal, 0)

    def step(self, target: Target, state: EncoderMHState, streams: Streams) -> tuple[EncoderMHState, EStepInfo]:
        """``sweeps`` proposals for every chain and frame."""
        chains, proposal = state.chains.under(target), state.proposal
        adapting = state.steps < self.adaptation
        if adapting and self.refresh:
            speech_power = target.speech_power(state.draws.log_variance, state.draws.log_weight)
            proposal = proposal.with_encoder(target.encode(speech_power))
        log_weight = chains.log_joint - proposal.log_prob(chains.z)
        taken = torch.zeros_like(log_weight)
        tried, weights = [], []
        for _ in range(self.sweeps):
            z, log_q = proposal.draw(self.draws, streams)
            proposed = Chains.at(target, z)
            new = proposed.log_joint - log_q
            tried.append(z)
            weights.append(new)
            chains, accepted = accept(target, chains, proposed, new - log_weight, streams)
            log_weight = torch.where(accepted, new, log_weight)
            taken += accepted
        if adapting:
            proposal = proposal.learn(torch.cat(tried, 1), torch.cat(weights, 1))
        draws, info = chain_info(target, chains.z, chains.log_variance, chains.log_joint, taken / self.sweeps)
        return EncoderMHState(chains, draws, proposal, state.steps + 1), info

    def frozen(self, state: EncoderMHState) -> EncoderMHState:
        """The state whose proposal, including the encoder's input, stays as it is."""
        return dataclasses.replace(state, steps=max(state.steps, self.adaptation))
