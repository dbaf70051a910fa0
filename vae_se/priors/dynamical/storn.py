"""Stochastic recurrent network."""

from __future__ import annotations

import torch

from ..base import PRIORS
from .autoregressive import AutoRegressive, Choice
from .base import Transition
from .sequences import step


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

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """z_n."""
        return z

    def moments_at(self, z: torch.Tensor, states: torch.Tensor) -> Transition:
        """None: the latents are independent."""
        return None

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """First the latent, then the state, of which it is an input."""
        prior = torch.zeros_like(z), torch.zeros_like(z)
        z = choose(*prior)
        return step(self.recurrent, torch.cat([past, z], -1), state), z, prior

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """``epsilon`` itself: the latents are standard normal."""
        return epsilon
