"""The VAE whose posterior is a normalising flow of a Gaussian."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from ..deprecated import renamed_attribute
from ..errors import UsageError
from ..likelihood import standard_normal_log_prob
from ..rng import numpy_stream
from ..signal_spec import SignalSpec
from .base import PRIORS
from .feedforward import TwoHeads
from .planar import PlanarFlows
from .posterior import standard_normal

if TYPE_CHECKING:
    from ..rng import Streams

_POINTS = 32  # fixed points for the moments of a posterior: 16 and their mirror images


class Flow(Protocol):
    """An invertible map of the latents (B, R, N, L), with parameters for each frame."""

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The image of z, and log |det| of the Jacobian (B, R, N)."""

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        """The latents whose image is ``z``."""


@dataclasses.dataclass(frozen=True)
class FlowPosterior:
    """q(z | x): z = location + scale * flow(epsilon), epsilon ~ N(0, I).

    ``location`` and ``log_scale`` have shape (B, N, L). Rezende and Mohamed (Variational inference with
    normalizing flows, 2015) apply planar maps to location + scale * epsilon. This is the same family with other
    parameters: planar maps of epsilon, which do not depend on the units of z.
    """

    location: torch.Tensor
    log_scale: torch.Tensor
    flow: Flow

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised draws z (B, R, N, L) and log q (B, R, N), with the flow's log-determinants."""
        return self._push(standard_normal(self.location, draws, generator))

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z | x) of any z (B, R, N, L), (B, R, N), by inverting the flow."""
        image = (z - self.location.unsqueeze(1)) * torch.exp(-self.log_scale).unsqueeze(1)
        return self._push(self.flow.inverse(image))[1]

    @property
    def mean(self) -> torch.Tensor:
        """Mean of z (B, N, L) over the fixed points."""
        return self._fixed.mean(1)

    @property
    def log_variance(self) -> torch.Tensor:
        """Logarithm of the variance of z (B, N, L) over the fixed points."""
        return torch.log(self._fixed.var(1, correction=0))

    @functools.cached_property
    def _fixed(self) -> torch.Tensor:
        """Images of the fixed points, (B, P, N, L)."""
        points = fixed_points(self.location.shape[-1]).to(self.location)
        return self._push(points[None, :, None].expand(len(self.location), -1, self.location.shape[1], -1))[0]

    def _push(self, epsilon: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image, log_det = self.flow.forward(epsilon)
        z = self.location.unsqueeze(1) + torch.exp(self.log_scale).unsqueeze(1) * image
        return z, standard_normal_log_prob(epsilon) - log_det - self.log_scale.sum(-1).unsqueeze(1)


@functools.cache
def fixed_points(latent_dim: int) -> torch.Tensor:
    """Points (P, L) with mean 0 and variance 1, which represent N(0, I) in moments of z.

    >>> points = fixed_points(3)
    >>> points.shape, points.mean(0).abs().max().item() < 1e-12
    (torch.Size([32, 3]), True)
    """
    half = numpy_stream(0, "fixed points").standard_normal((_POINTS // 2, latent_dim))
    points = torch.from_numpy(np.concatenate([half, -half]))
    return points / points.square().mean(0).sqrt()


class FlowPosteriorVAE(TwoHeads[FlowPosterior]):
    """``ffvae`` with a normalising flow between epsilon and z.

    The parameters of the flow are computed from the encoder's last layer, frame by frame; a subclass defines
    the :meth:`flow`. The divergence is estimated at the draw: log q(z | s) - log p(z).
    """

    counts_latents = False

    def flow(self, hidden: torch.Tensor) -> Flow:
        """The flow for the encoder's last layer ``hidden`` (B, N, H)."""
        raise NotImplementedError

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> FlowPosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        hidden = self.encoder(self.features(power))
        return FlowPosterior(self.mean_head(hidden), 0.5 * self.log_variance_head(hidden), self.flow(hidden))

    def divergence(self, posterior: FlowPosterior, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """log q(z | s) - log p(z) at the draw z (B, 1, N, L), (B, N, 1)."""
        return (log_q - self.log_prior(z)).transpose(1, 2)


@PRIORS.add("flow-vae")
class FlowVAE(FlowPosteriorVAE):
    """Posterior with ``flows`` planar maps (planar.py).

    Rezende and Mohamed, Variational inference with normalizing flows, 2015; with parameters from the encoder
    as in van den Berg, Hasenclever, Tomczak and Welling, Sylvester normalizing flows for variational
    inference, 2018.
    """

    summary = "A variational autoencoder with planar flows in its posterior"

    def __init__(
        self,
        hidden: Sequence[int] = (32, 64, 128, 256),
        latent_dim: int = 16,
        activation: str = "tanh",
        signal: SignalSpec | None = None,
        *,
        flows: int = 8,
    ) -> None:
        super().__init__(hidden, latent_dim, activation, signal)
        if not isinstance(flows, int) or flows < 1:
            raise UsageError(f"flows = {flows!r} of a prior", "it is a whole number above 0")
        self.flows = flows
        self.flow_head = nn.Linear(self.hidden[0], flows * (2 * latent_dim + 1))
        nn.init.xavier_normal_(self.flow_head.weight, gain=0.1)

    def flow(self, hidden: torch.Tensor) -> PlanarFlows:
        """Planar maps whose parameters are a linear function of ``hidden`` (B, N, H)."""
        raw = self.flow_head(hidden).unflatten(-1, (self.flows, -1))
        u, w, b = raw.split([self.latent_dim, self.latent_dim, 1], -1)
        return PlanarFlows.invertible(u, w, b[..., 0])

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"flows": self.flows}


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"BentVAE": "FlowPosteriorVAE"})
