"""Disentangled sequential autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...errors import UsageError
from ...signal_spec import SignalSpec
from ..base import PRIORS
from .base import Dynamical, Transition, transition_net
from .posterior import SequencePosterior, generated, moments
from .sequences import recurrent, run, shifted, step


@PRIORS.add("dsae")
class DSAE(Dynamical):
    """v ~ N(0, I) for the whole sequence; z_n given z_1..n-1; s_n given z_n and v; q(v | s_1..N) and
    q(z_n | v, z_1..n-1, s_1..N).

    Li and Mandt, Disentangled sequential autoencoder, 2018; the review, ch. 10. ``static`` of the
    ``latent_dim`` latents hold v, in the first frame. In later frames these entries are unused: N(0, 1) a
    priori and a posteriori, and not an input of the decoder. Departures: q(z_n | ...) depends on v and on the
    earlier latents by a recurrent network, and q(z_1 | ...) does not depend on v. Given v and z_1..n-1, z_n is
    independent of the speech before n, but q(z_n | ...) conditions on it: it shares its context, which runs
    both ways, with q(v | s_1..N).
    """

    summary = "A disentangled sequential autoencoder"
    both_ways = tracked = True

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        hidden_size: int = 128,
        activation: str = "silu",
        cell: str = "gru",
        chained: bool = True,
        static: int = 4,
        signal: SignalSpec | None = None,
    ) -> None:
        self.static = static
        super().__init__(hidden, latent_dim, hidden_size, activation, cell, chained, signal)

    def make_parts(self) -> None:
        """The transition of z. ``follow`` runs over v and z_1..n-1."""
        moving = self.latent_dim - self.static if isinstance(self.static, int) else 0
        if not 0 < moving < self.latent_dim:
            raise UsageError(f"static = {self.static!r} of a prior", f"it is from 1 to {self.latent_dim - 1}")
        self.dynamics = recurrent(self.cell, moving, self.hidden_size)
        self.transition = transition_net(self.hidden_size, self.hidden_size, moving, self.activation)

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> SequencePosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        local = self.listen(self.features(power))
        present = local.new_ones(local.shape[1], self.latent_dim)
        present[1:, : self.static] = 0
        return self.posterior(local, mask, present=present)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; the model does not condition on the past of the speech."""
        voice = z[:, :1, : self.static].expand(-1, z.shape[1], -1)
        return self.emit(torch.cat([voice, z[..., self.static :]], -1)), self.moments_before(z)

    def moments_before(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps at once; N(0, 1) for v, and where it does not exist."""
        mean, log_variance = moments(self.transition(run(self.dynamics, shifted(z[..., self.static :]))))
        nothing = torch.zeros_like(z[..., : self.static])
        return torch.cat([nothing, mean], -1), torch.cat([nothing, log_variance], -1)

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Step by step; v needs no transformation."""
        noise = epsilon[..., self.static :]
        z, steps = torch.zeros_like(noise[:, 0]), []
        state = z.new_zeros(len(z), self.hidden_size)
        for n in range(noise.shape[1]):
            state = step(self.dynamics, z, state)
            z = generated(*moments(self.transition(state)), noise[:, n])
            steps.append(z)
        return torch.cat([epsilon[..., : self.static], torch.stack(steps, 1)], -1)

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"static": self.static}
