"""The deterministic autoencoder: the baseline for the variational ones."""

from __future__ import annotations

import torch
from torch import nn

from .base import PRIORS
from .feedforward import FeedForward
from .posterior import GaussianPosterior, PointPosterior

_LEAST_STD = 1e-6  # floor for the standard deviation of a constant code


@PRIORS.add("ae")
class Autoencoder(FeedForward[PointPosterior]):
    """z = code(|s|^2);  s_f | z ~ N_c(0, exp(eta_f(z))), trained by the likelihood alone.

    The diabolo network (Rumelhart, Hinton and Williams, Learning internal representations by error
    propagation, 1986; Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
    2006). Training does not regularise the codes. To turn the network into a prior, :meth:`finish` fits a
    diagonal Gaussian to the codes of the training speech and standardises them by it, so that p(z) = N(0, I).
    q(z | s) is a point mass.

    ``code_log_variance`` (L,), from :meth:`finish`: of the Gaussian about a code that is the proposal of
    importance sampling and the start of the kernels.
    """

    summary = "A deterministic autoencoder with a Gaussian fitted to its codes"
    caution = (
        "The training objective is the reconstruction term alone; the first figure is no bound on a likelihood."
    )
    counts_latents = False
    code_log_variance: torch.Tensor

    def make_heads(self, size: int) -> None:
        """One linear layer: the code."""
        self.code_head = nn.Linear(size, self.latent_dim)
        self.register_buffer("code_log_variance", torch.zeros(self.latent_dim))

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> PointPosterior:
        """The codes of ``power`` (B, N, F) as point masses."""
        code = self.code_head(self.encoder(self.features(power)))
        return PointPosterior(code, self.code_log_variance.expand_as(code))

    def divergence(self, posterior: PointPosterior, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """Zeros (B, N, L): the objective has no divergence term."""
        return torch.zeros_like(posterior.mean)

    def proposal(self, power: torch.Tensor) -> GaussianPosterior:
        """A Gaussian about the code, of variance exp(``code_log_variance``)."""
        point = self.encode(power)
        return GaussianPosterior(point.mean, point.log_variance)

    @torch.no_grad()
    def finish(self, power: torch.Tensor) -> None:
        """Fit p(z) to the codes of some training frames |s|^2 (N, F).

        The layers before and after the code absorb its mean and standard deviation, so that z is the
        standardised code. The variance of the proposal is that of Laplace's approximation of p(z | s), averaged
        over frames: 1 / (1 + E sum_f (d eta_f / d z_l)^2), since the expected second derivative of the complex
        Gaussian's -log p by its log-variance is 1.
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
