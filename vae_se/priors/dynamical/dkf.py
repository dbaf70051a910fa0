"""Deep Kalman filter."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..base import PRIORS, Signal
from .base import Dynamical, Transition, moments, transition_net
from .sequences import shifted


@PRIORS.add("dkf")
class DKF(Dynamical):
    """A state-space model: s_n given z_n, z_n given z_{n-1}; q(z_n | z_{n-1}, s_n..N).

    Krishnan, Shalit and Sontag, Deep Kalman filters, 2015, and Structured inference networks for nonlinear
    state space models, 2017; the review, sec. 5.1. Departure: the transition is an ordinary layer without
    gates, and z_1 follows z_0 = 0.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        memory: int = 128,
        activation: str = "silu",
        signal: Signal | None = None,
    ) -> None:
        super().__init__(hidden, latent_dim, memory, activation, signal)
        self.transition = transition_net(latent_dim, memory, latent_dim, activation)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once: the speech's past has no part."""
        return self.emit(z), moments(self.transition(shifted(z)))

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """One state after the other."""
        z, steps = torch.zeros_like(epsilon[:, 0]), []
        for noise in epsilon.unbind(1):
            mean, log_variance = moments(self.transition(z))
            z = mean + torch.exp(0.5 * log_variance) * noise
            steps.append(z)
        return torch.stack(steps, 1)
