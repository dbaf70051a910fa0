"""Stochastic recurrent network."""

from __future__ import annotations

import torch
from torch import nn

from ..base import PRIORS
from .autoregressive import AutoRegressive, Choice
from .base import Transition
from .sequences import run, step


@PRIORS.add("storn")
class STORN(AutoRegressive):
    """z_n ~ N(0, I); h_n = GRU(h_{n-1}, s_{n-1}, z_n); s_n given h_n; q(z_n | z_1..n-1, s_1..N).

    Bayer and Osendorfer, Learning stochastic recurrent networks, 2014; the review, sec. 6. Departures: the
    posterior looks at earlier latents and at later speech, as d-separation asks (the review, sec. 6.3), and the
    decoder sees z_n beside h_n.
    """

    summary = "A stochastic recurrent network"
    standard_normal = True
    both_ways = tracked = driven = True

    def make_parts(self) -> None:
        """The posterior's tracker, over z_1..n-1."""
        super().make_parts()
        self.follow = nn.GRU(self.latent_dim, self.hidden_size, batch_first=True)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once, with the speech's true past."""
        state = run(self.recurrent, torch.cat([self.past(features), z], -1))
        return self.emit(torch.cat([z, state], -1)), None

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """The latent first, then the state, which it drives."""
        prior = torch.zeros_like(z), torch.zeros_like(z)
        z = choose(*prior)
        return step(self.recurrent, torch.cat([past, z], -1), state), z, prior

    def unheard(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """The roll-out; latents do not depend on each other."""
        return super().unheard(z, mask)[0], None

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """The numbers themselves."""
        return epsilon
