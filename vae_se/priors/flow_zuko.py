"""The VAE with an autoregressive spline flow in its posterior, from the library zuko."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from ..errors import UsageError
from ..signal_spec import SignalSpec
from .base import PRIORS
from .flow_vae import FlowPosteriorVAE


class Transform(Protocol):
    """A transform of zuko or torch.distributions."""

    @property
    def inv(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The inverse transform."""

    def call_and_ladj(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The image of x, and log |det| of the Jacobian."""


@dataclasses.dataclass(frozen=True)
class ZukoFlow:
    """A transform of zuko as a flow of epsilon: one pass forward, L passes for the inverse."""

    transform: Transform

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The image of z (B, R, N, L), and log |det| of the Jacobian (B, R, N)."""
        return self.transform.call_and_ladj(z)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        """The latents whose image is z (B, R, N, L)."""
        return self.transform.inv(z)


@PRIORS.add("flow-vae-zuko")
class SplineVAE(FlowPosteriorVAE):
    """Posterior with one autoregressive transform by splines.

    epsilon_l passes a rational-quadratic spline of ``bins`` pieces on [-5, 5]. A masked network with ``width``
    hidden units computes its shape from epsilon_1 .. epsilon_l-1 and from the encoder's last layer.

    Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, 2019; in the direction that draws in one
    pass, as in Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving variational inference
    with inverse autoregressive flow, 2016. zuko draws no random number: epsilon comes from the caller's
    generator.

    Raises UsageError where zuko is not installed.
    """

    summary = "A variational autoencoder with an autoregressive spline flow in its posterior"

    def __init__(
        self,
        hidden: Sequence[int] = (32, 64, 128, 256),
        latent_dim: int = 16,
        activation: str = "tanh",
        signal: SignalSpec | None = None,
        *,
        bins: int = 8,
        width: int = 128,
    ) -> None:
        try:
            from zuko.flows.autoregressive import MaskedAutoregressiveTransform
            from zuko.transforms import MonotonicRQSTransform
        except ModuleNotFoundError:
            raise UsageError("this prior needs zuko", "pip install 'vae-se[flows]'") from None
        super().__init__(hidden, latent_dim, activation, signal)
        self.bins, self.width = bins, width
        self.spline = MaskedAutoregressiveTransform(
            latent_dim,
            self.hidden[0],
            univariate=functools.partial(MonotonicRQSTransform, slope=1e-3),
            shapes=[(bins,), (bins,), (bins - 1,)],
            hidden_features=[width],
            activation=torch.nn.SiLU,
        )
        with torch.no_grad():
            for parameter in self.spline.hyper[-1].parameters():
                parameter.mul_(0.1)  # start near the identity, the map at all zeros

    def flow(self, hidden: torch.Tensor) -> ZukoFlow:
        """The spline for the encoder's last layer ``hidden`` (B, N, H)."""
        return ZukoFlow(self.spline(hidden.unsqueeze(1)))

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"bins": self.bins, "width": self.width}
