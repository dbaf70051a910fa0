"""What encoding returns: a distribution object over latents, one per frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import torch

from ..likelihood import gaussian_kl, gaussian_kl_by_dimension, gaussian_log_prob

if TYPE_CHECKING:
    from ..rng import Streams


class Posterior(Protocol):
    """q(z | x), one density per frame; ``mean`` and ``log_variance`` have shape (B, N, L)."""

    @property
    def mean(self) -> torch.Tensor:
        """The mean of every latent."""

    @property
    def log_variance(self) -> torch.Tensor:
        """The log-variance of every latent."""

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised samples z (B, R, N, L) and their log q (B, R, N)."""

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z | x) of z (B, R, N, L), shape (B, R, N)."""


def standard_normal(
    like: torch.Tensor, draws: int, generator: torch.Generator | Streams | None
) -> torch.Tensor:
    """Numbers from N(0, 1), (B, R, N, L), for a posterior whose moments are ``like`` (B, N, L).

    ``generator`` is one generator, or one per utterance.
    """
    if generator is None or isinstance(generator, torch.Generator):
        shape = _drawn(like, draws)
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    return generator.normal(draws, like.shape[-1], dtype=like.dtype).transpose(1, 2)


def uniform(like: torch.Tensor, draws: int, generator: torch.Generator | Streams | None) -> torch.Tensor:
    """Uniform numbers in [0, 1), (B, R, N, L), in the same way."""
    if generator is None or isinstance(generator, torch.Generator):
        shape = _drawn(like, draws)
        return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
    return generator.uniform(draws, like.shape[-1], dtype=like.dtype).transpose(1, 2)


def _drawn(like: torch.Tensor, draws: int) -> tuple[int, int, int, int]:
    batch, frames, latent = like.shape
    return batch, draws, frames, latent


@dataclasses.dataclass(frozen=True)
class GaussianPosterior:
    """q(z | x) = N(mean, diag exp(log_variance)), independent over frames.

    ``mean`` and ``log_variance`` have shape (B, N, L).
    """

    mean: torch.Tensor
    log_variance: torch.Tensor

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparametrised draws and their log-density.

        z = mean + std * epsilon (Kingma and Welling, Auto-encoding variational Bayes, 2014, sec. 2.4).
        Returns z (B, R, N, L) and log q (B, R, N). ``generator`` is one generator, or one per utterance.
        """
        epsilon = standard_normal(self.mean, draws, generator)
        mean, log_variance = self.mean.unsqueeze(1), self.log_variance.unsqueeze(1)
        z = mean + torch.exp(0.5 * log_variance) * epsilon
        return z, gaussian_log_prob(z, mean, log_variance)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z | x) of z (B, R, N, L), shape (B, R, N)."""
        return gaussian_log_prob(z, self.mean.unsqueeze(1), self.log_variance.unsqueeze(1))

    def kl(self) -> torch.Tensor:
        """KL(q || N(0, I)), shape (B, N)."""
        return gaussian_kl(self.mean, self.log_variance)

    def kl_by_dimension(self) -> torch.Tensor:
        """The same latent by latent, (B, N, L)."""
        return gaussian_kl_by_dimension(self.mean, self.log_variance)


@dataclasses.dataclass(frozen=True)
class PointPosterior:
    """All of q on one point, ``mean`` (B, N, L): no density, hence its logarithm counts as 0.

    ``log_variance`` (B, N, L) says how far from it a kernel that needs a Gaussian should start.
    """

    mean: torch.Tensor
    log_variance: torch.Tensor

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The point itself, ``draws`` times: z (B, R, N, L) and zeros (B, R, N). Draws no number."""
        z = self.mean.unsqueeze(1).expand(-1, draws, -1, -1)
        return z, self.log_prob(z)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Zeros (B, R, N)."""
        return torch.zeros_like(z[..., 0])
