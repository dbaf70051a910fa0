"""Variational recurrent neural network."""

from __future__ import annotations

import torch

from ..base import PRIORS
from .autoregressive import AutoRegressive, Choice
from .base import Transition, transition_net
from .posterior import SequencePosterior, moments
from .sequences import Recurrent, shifted, step


@PRIORS.add("vrnn")
class VRNN(AutoRegressive):
    """h_n = GRU(h_{n-1}, s_{n-1}, z_{n-1}); z_n given h_n; s_n given h_n and z_n; q(z_n | h_n, s_n..N).

    Chung, Kastner, Dinh, Goel, Courville and Bengio, A recurrent latent variable model for sequential data,
    2015; the review, ch. 7. Departure: the posterior also conditions on the speech after n, which follows from
    d-separation (the review, ch. 7); the original paper conditions on the speech up to n.
    """

    summary = "A variational recurrent neural network"
    tracked = driven = True
    own_tracker = False

    def make_parts(self) -> None:
        """The transition network from h_n to p(z_n | h_n)."""
        super().make_parts()
        self.transition = transition_net(self.hidden_size, self.hidden_size, self.latent_dim, self.activation)

    @property
    def tracker(self) -> Recurrent:
        """The recurrent network of the model, shared with the posterior."""
        return self.recurrent

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> SequencePosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        features = self.features(power)
        return self.posterior(self.listen(features), mask, past=self.past(features))

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """z_{n-1}."""
        return shifted(z)

    def moments_at(self, z: torch.Tensor, states: torch.Tensor) -> Transition:
        """p(z_n | h_n)."""
        return moments(self.transition(states))

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """First the state, then the latent given the state."""
        state = step(self.recurrent, torch.cat([past, z], -1), state)
        prior = moments(self.transition(state))
        return state, choose(*prior), prior
