"""Log-gamma distributions over latents: densities, reparameterised draws and divergence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from .posterior import standard_normal, uniform

if TYPE_CHECKING:
    from ..rng import Streams

# Proposals for one draw. Each is accepted with a probability of at least 0.95, so all are rejected once in
# 6e7 draws; the draw is then the value at v = 1, near the median. The number is fixed so that the random
# stream advances by the same amount whichever proposals are accepted.
_ATTEMPTS = 6


@dataclasses.dataclass(frozen=True)
class GammaPosterior:
    """q(z | x): z_l = location_l + (log(g / alpha_l) - c_l) / d_l with g ~ Gamma(alpha_l, 1).

    ``location`` and ``log_shape`` = log alpha have shape (B, N, L); ``prior_log_shape`` = log a has shape (L,).
    c = psi(a) - log a and d = psi'(a)^(1/2) standardise the prior, the member of the family with location 0 and
    alpha = a: its z has mean 0 and variance 1. For y = exp(d z + psi(a)): y ~ Gamma(a, 1) a priori and
    y ~ Gamma(alpha, beta) a posteriori, with log beta = log alpha - log a - d * location.
    """

    location: torch.Tensor
    log_shape: torch.Tensor
    prior_log_shape: torch.Tensor

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised draws z (B, R, N, L) and log q (B, R, N)."""
        log_ratio = draw_log_gamma(self.log_shape, draws, generator) - self.log_shape.unsqueeze(1)
        offset, scale = standardisation(self.prior_log_shape)
        z = self.location.unsqueeze(1) + (log_ratio - offset) / scale
        return z, self._log_density(log_ratio)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z | x) of z (B, R, N, L), (B, R, N)."""
        offset, scale = standardisation(self.prior_log_shape)
        return self._log_density(scale * (z - self.location.unsqueeze(1)) + offset)

    def _log_density(self, log_ratio: torch.Tensor) -> torch.Tensor:
        """Log-density of z, given r = log(g / alpha), (B, R, N).

        alpha (r + 1 - e^r) + alpha log alpha - alpha - log Gamma(alpha) is the log-density of r, and dr = d dz.
        """
        _, scale = standardisation(self.prior_log_shape)
        alpha = torch.exp(self.log_shape)
        density = alpha.unsqueeze(1) * (log_ratio - torch.expm1(log_ratio))
        return (density + (_peak(self.log_shape) + torch.log(scale)).unsqueeze(1)).sum(-1)

    @property
    def mean(self) -> torch.Tensor:
        """Mean of z (B, N, L)."""
        offset, scale = standardisation(self.prior_log_shape)
        return self.location + (torch.digamma(torch.exp(self.log_shape)) - self.log_shape - offset) / scale

    @property
    def log_variance(self) -> torch.Tensor:
        """Logarithm of the variance of z (B, N, L)."""
        _, scale = standardisation(self.prior_log_shape)
        return torch.log(torch.polygamma(1, torch.exp(self.log_shape))) - 2 * torch.log(scale)

    def kl(self) -> torch.Tensor:
        """KL(q || p) of each frame, (B, N)."""
        return self.kl_by_dimension().sum(-1)

    def kl_by_dimension(self) -> torch.Tensor:
        """KL(Gamma(alpha, beta) || Gamma(a, 1)) of each latent, (B, N, L).

        (alpha - a) psi(alpha) - log Gamma(alpha) + log Gamma(a) + a log beta + alpha (1 / beta - 1), computed
        in double precision, since terms of the order of alpha log alpha nearly cancel.
        """
        _, scale = standardisation(self.prior_log_shape)
        log_alpha, log_a = self.log_shape.double(), self.prior_log_shape.double()
        alpha, a = torch.exp(log_alpha), torch.exp(log_a)
        log_beta = log_alpha - log_a - (scale * self.location).double()
        kl = (
            (alpha - a) * torch.digamma(alpha) - torch.lgamma(alpha) + torch.lgamma(a)
            + a * log_beta + alpha * torch.expm1(-log_beta)
        )  # fmt: skip
        return kl.to(self.location.dtype)


def standardisation(prior_log_shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """c = psi(a) - log a and d = psi'(a)^(1/2) for log a (L,).

    For y ~ Gamma(a, 1), c is the mean of log(y / a) and d the standard deviation of log y.

    >>> c, d = standardisation(torch.tensor([0.0]))
    >>> round(c.item(), 4), round(d.item(), 4)
    (-0.5772, 1.2825)
    """
    a = torch.exp(prior_log_shape)
    return torch.digamma(a) - prior_log_shape, torch.polygamma(1, a).sqrt()


def _peak(log_alpha: torch.Tensor) -> torch.Tensor:
    """alpha log alpha - alpha - log Gamma(alpha), in double precision, since the terms nearly cancel."""
    wide = log_alpha.double()
    alpha = torch.exp(wide)
    return (alpha * wide - alpha - torch.lgamma(alpha)).to(log_alpha.dtype)


def draw_log_gamma(
    log_shape: torch.Tensor, draws: int, generator: torch.Generator | Streams | None
) -> torch.Tensor:
    """log g with g ~ Gamma(alpha, 1), (B, R, N, L), for log alpha (B, N, L); differentiable by log alpha.

    g = g' U^(1/alpha) with g' ~ Gamma(alpha + 1, 1) and U uniform (shape augmentation), computed in logarithms,
    so that no alpha is too small. g' is drawn by rejection (Marsaglia and Tsang, A simple method for generating
    gamma variables, 2000). Its derivative is -(dF / dalpha) / (dF / dg) for the distribution function F,
    whatever the sampler (Figurnov, Mohamed and Mnih, Implicit reparameterization gradients, 2018).
    """
    alpha = torch.exp(log_shape).unsqueeze(1)
    more = alpha + 1
    with torch.no_grad():
        d = more - 1 / 3
        c = torch.rsqrt(9 * d)
        log_v = torch.zeros_like(d.expand(-1, draws, -1, -1))
        found = torch.zeros_like(log_v, dtype=torch.bool)
        for _ in range(_ATTEMPTS):
            x = standard_normal(log_shape, draws, generator)
            log_u = torch.log1p(-uniform(log_shape, draws, generator))
            tried = 3 * torch.log1p((c * x).clamp_min(-0.99))
            accepted = (c * x > -0.99) & (log_u < 0.5 * x.square() + d * (tried - torch.expm1(tried)))
            log_v = torch.where(accepted & ~found, tried, log_v)
            found |= accepted
        log_g = torch.log(d) + log_v
        g = torch.exp(log_g)
        slope = torch._standard_gamma_grad(more.expand_as(g), g) / g
    log_g = log_g + slope * (more - more.detach())
    return log_g + torch.log1p(-uniform(log_shape, draws, generator)) / alpha
