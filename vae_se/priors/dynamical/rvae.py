"""Recurrent variational autoencoder, causal and not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...signal_spec import SignalSpec
from ..base import PRIORS
from .base import Dynamical, Transition
from .sequences import recurrent, run, run_backwards


@PRIORS.add("rvae")
class RVAE(Dynamical):
    """z_n ~ N(0, I); s_n given z_1..n (``causal``) or z_1..N; q(z_n | z_1..n-1, s_n..N) or (..., s_1..N).

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech enhancement,
    2020; the review, ch. 9. The decoder's input is z_n and the recurrent state, a function of the same latents.
    """

    summary = "A recurrent variational autoencoder"
    standard_normal = tracked = True

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        hidden_size: int = 128,
        activation: str = "silu",
        cell: str = "gru",
        chained: bool = True,
        causal: bool = True,
        signal: SignalSpec | None = None,
    ) -> None:
        self.causal, self.both_ways, self.decoder_states = causal, not causal, 1 if causal else 2
        super().__init__(hidden, latent_dim, hidden_size, activation, cell, chained, signal)

    def make_parts(self) -> None:
        """The decoder's recurrent networks."""
        self.onwards = recurrent(self.cell, self.latent_dim, self.hidden_size)
        self.backwards = None
        if not self.causal:
            self.backwards = recurrent(self.cell, self.latent_dim, self.hidden_size)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; no dependence on the past of the speech, nor between latents."""
        inputs = [z, run(self.onwards, z)]
        if self.backwards is not None:
            inputs.append(run_backwards(self.backwards, z, mask))
        return self.emit(torch.cat(inputs, -1)), None

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """``epsilon`` itself: the latents are standard normal."""
        return epsilon

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"causal": self.causal}
