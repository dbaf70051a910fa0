"""Stochastic recurrent neural network."""

from __future__ import annotations

import torch

from ..base import PRIORS
from .autoregressive import AutoRegressive, Choice
from .base import Transition, transition_net
from .posterior import SequencePosterior, moments
from .sequences import run, shifted, step


@PRIORS.add("srnn")
class SRNN(AutoRegressive):
    """h_n = GRU(h_{n-1}, s_{n-1}); z_n given z_{n-1}, h_n; s_n given z_n, h_n; q(z_n | z_{n-1}, h, s_n..N).

    Fraccaro, Sønderby, Paquet and Winther, Sequential neural models with stochastic layers, 2016; the review,
    ch. 8. Departure: q does not add its mean to that of p(z_n | ...).
    """

    summary = "A stochastic recurrent neural network"
    context_states = 1

    def make_parts(self) -> None:
        """The transition network from z_{n-1} and h_n to p(z_n | ...)."""
        super().make_parts()
        size = self.latent_dim + self.hidden_size
        self.transition = transition_net(size, self.hidden_size, self.latent_dim, self.activation)

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> SequencePosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        features = self.features(power)
        return self.posterior(self.listen(features), mask, run(self.recurrent, self.past(features)))

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """No latents."""
        return z[..., :0]

    def moments_at(self, z: torch.Tensor, states: torch.Tensor) -> Transition:
        """p(z_n | z_{n-1}, h_n)."""
        return moments(self.transition(torch.cat([shifted(z), states], -1)))

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """First the state, a function of the past alone, then the latent."""
        state = step(self.recurrent, past, state)
        prior = moments(self.transition(torch.cat([z, state], -1)))
        return state, choose(*prior), prior
