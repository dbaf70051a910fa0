"""Stochastic recurrent network."""

from __future__ import annotations

import torch

from ..base import PRIORS
from .autoregressive import AutoRegressive, Choice
from .base import Transition
from .sequences import run, step


@PRIORS.add("storn")
class STORN(AutoRegressive):
    """z_n ~ N(0, I); h_n = GRU(h_{n-1}, s_{n-1}, z_n); s_n given h_n; q(z_n | z_1..n-1, s_1..N).

    Bayer and Osendorfer, Learning stochastic recurrent networks, 2014; the review, ch. 6. Departures: the
    posterior conditions on earlier latents and on later speech, which follows from d-separation (the review,
    ch. 6), and z_n is an input of the decoder beside h_n.
    """

    summary = "A stochastic recurrent network"
    standard_normal = True
    both_ways = tracked = driven = True

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once, conditioned on the true past of the speech."""
        state = run(self.recurrent, torch.cat([self.past(features), z], -1))
        return self.emit(torch.cat([z, state], -1)), None

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """First the latent, then the state, of which it is an input."""
        prior = torch.zeros_like(z), torch.zeros_like(z)
        z = choose(*prior)
        return step(self.recurrent, torch.cat([past, z], -1), state), z, prior

    def without_speech(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """The roll-out; the latents are independent."""
        return super().without_speech(z, mask)[0], None

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """``epsilon`` itself: the latents are standard normal."""
        return epsilon
