"""The deterministic autoencoder: the baseline that variational ones are measured against."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import PRIORS
from .feedforward import FeedForward
from .posterior import GaussianPosterior, PointPosterior

_LEAST_STD = 1e-6  # of a code that does not move at all


@PRIORS.add("ae")
class Autoencoder(FeedForward):
    """z = code(|s|^2);  s_f | z ~ N_c(0, exp(eta_f(z))), trained by the likelihood alone.

    The diabolo network (Rumelhart, Hinton and Williams, Learning internal representations by error
    propagation, 1986; Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
    2006). Nothing holds the codes together while it trains; so that it can serve as a prior at all,
    :meth:`finish` fits a diagonal Gaussian to those of the training speech, by which they are standardised,
    and takes p(z) = N(0, I). q is a point.

    ``code_log_variance`` (L,): of the Gaussian about a code that importance sampling draws from and that
    kernels start with; from :meth:`finish`.
    """

    summary = "A deterministic autoencoder, with a Gaussian fitted to its codes,"
    caution = "It is trained by its reconstruction alone: the first figure is no bound on a likelihood."
    counts_latents = False
    code_log_variance: torch.Tensor

    def make_heads(self, size: int) -> None:
        """One linear layer: the code."""
        self.code_head = nn.Linear(size, self.latent_dim)
        self.register_buffer("code_log_variance", torch.zeros(self.latent_dim))

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> PointPosterior:
        """The codes of |s|^2, (B, N, F)."""
        code = self.code_head(self.encoder(self.features(power)))
        return PointPosterior(code, self.code_log_variance.expand_as(code))

    def divergence(self, posterior: Any, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """Zeros (B, N, L): the objective has no such term, and is no bound."""
        return torch.zeros_like(posterior.mean)

    def proposal(self, power: torch.Tensor) -> GaussianPosterior:
        """A Gaussian about the code."""
        point = self.encode(power)
        return GaussianPosterior(point.mean, point.log_variance)

    @torch.no_grad()
    def finish(self, power: torch.Tensor) -> None:
        """Fit p(z) to the codes of some training frames |s|^2 (N, F).

        Mean and standard deviation go into the layers on either side of the code, so that z are the
        standardised codes. The width of the proposal is that of p(z | s) about its mode by Laplace's
        approximation, averaged over frames: 1 / (1 + E sum_f (d eta_f / d z_l)^2), since the expected
        curvature of the complex Gaussian's -log p by its log-variance is 1.
        """
        code = self.encode(power.unsqueeze(0)).mean[0]
        mean, std = code.mean(0), code.std(0).clamp_min(_LEAST_STD)
        first = self.decoder[0]
        assert isinstance(first, nn.Linear)
        first.bias.add_(first.weight @ mean)
        first.weight.mul_(std)
        self.code_head.bias.sub_(mean).div_(std)
        self.code_head.weight.div_(std.unsqueeze(1))
        code = (code - mean) / std
        for latent, direction in enumerate(torch.eye(self.latent_dim).to(code)):
            slope = torch.func.jvp(self.decode, (code,), (direction.expand_as(code),))[1]
            self.code_log_variance[latent] = -torch.log1p(slope.square().sum(-1).mean())
