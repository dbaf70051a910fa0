"""The VAE with gamma distributed latents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import UsageError
from ..signal_spec import SignalSpec
from .base import PRIORS
from .feedforward import TwoHeads
from .gamma_posterior import GammaPosterior

# Range of log(alpha / a): from a posterior wider than the prior to one 400 times narrower.
_LOG_RATIO = (-3.0, 12.0)


@PRIORS.add("gamma-vae")
class GammaVAE(TwoHeads[GammaPosterior]):
    """y_l ~ Gamma(a_l, 1);  s_f | y ~ N_c(0, exp(eta_f(y)));  q(y_l | s) = Gamma(alpha_l, beta_l).

    The shapes a_l are trained from the initial value ``shape``. Powers are positive and skewed, and the gamma
    distribution is the conjugate prior of an inverse variance; docs/priors.md tests whether such latents suit
    spectra better than Gaussians. Draws and their gradients: gamma_posterior.py.

    Inference works on the unconstrained latents z = (log y - psi(a)) / psi'(a)^(1/2), of mean 0 and variance
    1 under the prior, which are the decoder's input. As a grows, p(z) tends to N(0, 1) and the model to
    ``ffvae``. The encoder's heads are the location of z and the negative logarithm of alpha / a, the gain in
    precision.
    """

    standard_normal = False
    summary = "A variational autoencoder with gamma distributed latents"

    def __init__(
        self,
        hidden: Sequence[int] = (32, 64, 128, 256),
        latent_dim: int = 16,
        activation: str = "tanh",
        signal: SignalSpec | None = None,
        *,
        shape: float = 2.0,
    ) -> None:
        super().__init__(hidden, latent_dim, activation, signal)
        if not isinstance(shape, (int, float)) or not 0 < shape < math.inf:
            raise UsageError(f"shape = {shape!r} of a prior", "it is a number above 0")
        self.shape = shape
        self.log_shape = nn.Parameter(torch.full((latent_dim,), math.log(shape)))

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> GammaPosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        hidden = self.encoder(self.features(power))
        log_ratio = functional.hardtanh(-self.log_variance_head(hidden), *_LOG_RATIO)
        return GammaPosterior(self.mean_head(hidden), self.log_shape + log_ratio, self.log_shape)

    def divergence(self, posterior: GammaPosterior, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """KL(q || p) of each latent in closed form, (B, N, L)."""
        return posterior.kl_by_dimension()

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z_n), (B, R, N)."""
        return self._prior(z[:, 0]).log_prob(z)

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) from p(z)."""
        like = torch.empty(1, frames, self.latent_dim, dtype=self.log_shape.dtype, device=generator.device)
        with torch.no_grad():
            return self._prior(like).rsample(1, generator)[0].to(self.log_shape.device)

    def _prior(self, like: torch.Tensor) -> GammaPosterior:
        """p(z) as a distribution over latents of the shape of ``like``, (B, N, L)."""
        log_shape = self.log_shape.to(like.device)
        return GammaPosterior(torch.zeros_like(like), log_shape.expand_as(like), log_shape)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of q(z | s); the shapes a belong to p(z)."""
        return (p for p in super().encoder_parameters() if p is not self.log_shape)

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"shape": self.shape}
