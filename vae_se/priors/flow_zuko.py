"""The VAE with a modern flow as its posterior: an autoregressive spline from the library zuko."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import torch

from ..errors import UsageError
from ..signal_spec import SignalSpec
from .base import PRIORS
from .flow_vae import BentVAE


@dataclasses.dataclass(frozen=True)
class ZukoFlow:
    """A transform of zuko as a flow: epsilon goes in, in one pass; the inverse takes L."""

    transform: Any

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The image of z (B, R, N, L), and log |det| of the Jacobian (B, R, N)."""
        image, log_det = self.transform.call_and_ladj(z)
        return image, log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        """What has the image z (B, R, N, L)."""
        before: torch.Tensor = self.transform.inv(z)
        return before


@PRIORS.add("flow-vae-zuko")
class SplineVAE(BentVAE):
    """epsilon_l goes through a rational-quadratic spline of ``bins`` pieces on [-5, 5], whose shape depends on
    epsilon_1 .. epsilon_l-1 and on the frame through a masked network with ``width`` hidden units.

    Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, 2019, sec. 3.1; in the direction that draws
    in one pass: Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, Improving variational inference
    with inverse autoregressive flow, 2016, sec. 3. zuko draws nothing: epsilon comes from the caller's
    generator. UsageError where zuko is not installed.
    """

    summary = "A variational autoencoder, its posterior bent by an autoregressive spline flow,"

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
            raise UsageError("this prior's flow needs zuko", "pip install 'vae-se[flows]'") from None
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
                parameter.mul_(0.1)  # near the identity, which all zeros are

    def flow(self, hidden: torch.Tensor) -> ZukoFlow:
        """The spline that the encoder's last layer (B, N, H) asks for."""
        return ZukoFlow(self.spline(hidden.unsqueeze(1)))

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor, JSON-able, less the signal."""
        return super().config() | {"bins": self.bins, "width": self.width}
