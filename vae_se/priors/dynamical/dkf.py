"""Deep Kalman filter."""

from __future__ import annotations

import torch

from ..base import PRIORS
from .base import Dynamical, Transition, transition_net
from .posterior import generated, moments
from .sequences import shifted


@PRIORS.add("dkf")
class DKF(Dynamical):
    """A state-space model: s_n given z_n, z_n given z_{n-1}; q(z_n | z_{n-1}, s_n..N).

    Krishnan, Shalit and Sontag, Deep Kalman filters, 2015, and Structured inference networks for nonlinear
    state space models, 2017; the review, ch. 5. Departures: the transition is a feed-forward layer without
    gates, and z_0 = 0.
    """

    summary = "A deep Kalman filter"
    frame_decoder = True
    #: U, the number of external inputs of the transition.
    inputs = 0

    def make_parts(self) -> None:
        """The transition network."""
        size = self.latent_dim + self.inputs
        self.transition = transition_net(size, self.hidden_size, self.latent_dim, self.activation)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; the model does not condition on the past of the speech."""
        return self.with_inputs(z, self.drive_of(z))

    def with_inputs(self, z: torch.Tensor, drive: torch.Tensor) -> tuple[torch.Tensor, Transition]:
        """Log-variances and p(z_n | z_{n-1}, u_n) under inputs u (M, N, U)."""
        return self.emit(z), self._moments_under(z, drive)

    def _moments_under(self, z: torch.Tensor, drive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Moments of p(z_n | z_{n-1}, u_n)."""
        return moments(self.transition(torch.cat([shifted(z), drive], -1)))

    def moments_before(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps at once, for unknown speech."""
        return self._moments_under(z, self.drive_of(z))

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """The inputs (M, N, U) for unknown speech; here U = 0."""
        return z[..., :0]

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Step by step."""
        z, steps, drive = torch.zeros_like(epsilon[:, 0]), [], self.drive_of(epsilon)
        for n in range(epsilon.shape[1]):
            z = generated(*moments(self.transition(torch.cat([z, drive[:, n]], -1))), epsilon[:, n])
            steps.append(z)
        return torch.stack(steps, 1)
