"""Posterior distributions over latents: what a prior's encoder returns."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from ..likelihood import gaussian_kl, gaussian_kl_by_dimension, gaussian_log_prob

if TYPE_CHECKING:
    from ..rng import Streams


@runtime_checkable
class Posterior(Protocol):
    """q(z | x) over the latents of a batch of recordings, (B, N, L)."""

    @property
    def mean(self) -> torch.Tensor:
        """Mean of z (B, N, L); for a sequence posterior, along its central trajectory."""

    @property
    def log_variance(self) -> torch.Tensor:
        """Logarithm of the variance of z (B, N, L); for a sequence posterior, of each conditional factor."""

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised draws z (B, R, N, L) and log q of each frame (B, R, N).

        ``generator``: one generator, or one stream per recording; None is torch's global generator.
        """

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z_n | z_1..n-1, x) of z (B, R, N, L), (B, R, N)."""


def standard_normal(
    like: torch.Tensor, draws: int, generator: torch.Generator | Streams | None
) -> torch.Tensor:
    """Standard normal numbers (B, R, N, L), for a posterior whose moments are ``like`` (B, N, L).

    ``generator``: one generator, or one stream per recording; None is torch's global generator.

    >>> standard_normal(torch.zeros(2, 5, 3), 4, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 4, 5, 3])
    """
    if generator is None or isinstance(generator, torch.Generator):
        shape = _shape_of_draws(like, draws)
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    return generator.normal(draws, like.shape[-1], dtype=like.dtype).transpose(1, 2)


def uniform(like: torch.Tensor, draws: int, generator: torch.Generator | Streams | None) -> torch.Tensor:
    """Uniform numbers in [0, 1), (B, R, N, L); arguments as in :func:`standard_normal`."""
    if generator is None or isinstance(generator, torch.Generator):
        shape = _shape_of_draws(like, draws)
        return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
    return generator.uniform(draws, like.shape[-1], dtype=like.dtype).transpose(1, 2)


def _shape_of_draws(like: torch.Tensor, draws: int) -> tuple[int, int, int, int]:
    batch, frames, latent = like.shape
    return batch, draws, frames, latent


@dataclasses.dataclass(frozen=True)
class GaussianPosterior:
    """q(z | x) = N(mean, diag exp(log_variance)), independent over frames; p(z) = N(0, I).

    ``mean`` and ``log_variance`` have shape (B, N, L).

    >>> q = GaussianPosterior(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    >>> z, log_q = q.rsample(5, torch.Generator().manual_seed(0))
    >>> z.shape, torch.equal(log_q, q.log_prob(z)), q.kl().tolist()
    (torch.Size([1, 5, 2, 3]), True, [[0.0, 0.0]])
    """

    mean: torch.Tensor
    log_variance: torch.Tensor

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised draws z (B, R, N, L) and log q (B, R, N).

        z = mean + std * epsilon (Kingma and Welling, Auto-encoding variational Bayes, 2014).
        """
        epsilon = standard_normal(self.mean, draws, generator)
        mean, log_variance = self.mean.unsqueeze(1), self.log_variance.unsqueeze(1)
        z = mean + torch.exp(0.5 * log_variance) * epsilon
        return z, gaussian_log_prob(z, mean, log_variance)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z | x) of z (B, R, N, L), (B, R, N)."""
        return gaussian_log_prob(z, self.mean.unsqueeze(1), self.log_variance.unsqueeze(1))

    def kl(self) -> torch.Tensor:
        """KL(q || N(0, I)) of each frame, (B, N)."""
        return gaussian_kl(self.mean, self.log_variance)

    def kl_by_dimension(self) -> torch.Tensor:
        """KL(q || N(0, I)) of each latent, (B, N, L)."""
        return gaussian_kl_by_dimension(self.mean, self.log_variance)


@dataclasses.dataclass(frozen=True)
class PointPosterior:
    """A point mass at ``mean`` (B, N, L). It has no density; log q counts as 0.

    ``log_variance`` (B, N, L): of the Gaussian about the point from which kernels start.
    """

    mean: torch.Tensor
    log_variance: torch.Tensor

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The point, ``draws`` times: z (B, R, N, L), and zeros (B, R, N). It draws no random number."""
        z = self.mean.unsqueeze(1).expand(-1, draws, -1, -1)
        return z, self.log_prob(z)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Zeros (B, R, N)."""
        return torch.zeros_like(z[..., 0])
