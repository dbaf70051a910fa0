"""What encoding returns: a distribution object over latents, one per frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from ..likelihood import gaussian_kl, gaussian_kl_by_dimension, gaussian_log_prob

if TYPE_CHECKING:
    from ..rng import Streams


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
        batch, frames, latent = self.mean.shape
        if generator is None or isinstance(generator, torch.Generator):
            shape = (batch, draws, frames, latent)
            epsilon = torch.randn(shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        else:
            epsilon = generator.normal(draws, latent, dtype=self.mean.dtype).transpose(1, 2)
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
