"""A prior whose latents are distributed as a context says, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import nn

from ..priors.base import LatentPrior
from ..priors.posterior import GaussianPosterior, Posterior


@dataclasses.dataclass(frozen=True)
class Context:
    """N(mean, diag scale^2) of the latents of every frame, both (B, N, L)."""

    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def pooled(cls, posterior: GaussianPosterior, weight: float) -> Context:
        """q^weight N(0, I)^(1 - weight), normalised, for the Gaussian q and a weight up to 1.

        It is the logarithmic opinion pool of the two (Genest and Zidek, Combining probability distributions,
        1986). A weight above 1 makes q narrower, and N(0, I) has no part.

        >>> q = GaussianPosterior(torch.ones(1, 1, 2), torch.zeros(1, 1, 2))
        >>> Context.pooled(q, 0.25).mean.flatten().tolist(), Context.pooled(q, 4).scale.flatten().tolist()
        ([0.25, 0.25], [0.5, 0.5])
        """
        precision = weight * torch.exp(-posterior.log_variance)
        total = precision + max(0.0, 1 - weight)
        return cls(posterior.mean * precision / total, total.rsqrt())


class ContextualPrior(nn.Module, LatentPrior):
    """``base``, a prior with p(z) = N(0, I) in every frame, with N(mean, scale^2) of a context in its place.

    It is written in whitened latents u, z = mean + scale u: kernels see a standard normal prior and another
    decoder. Shapes as in :class:`~vae_se.priors.base.SpeechPrior`, with u for z.
    """

    standard_normal = factorised = frame_decoder = True

    def __init__(self, base: LatentPrior, context: Context) -> None:
        super().__init__()
        self.base, self.context = base, context
        self.signal, self.latent_dim = base.signal, base.latent_dim

    def whitened(self, posterior: Posterior) -> GaussianPosterior:
        """A posterior of z as one of u: the Gaussian with its moments."""
        mean, scale = self.context.mean, self.context.scale
        log_variance = posterior.log_variance - 2 * torch.log(scale)
        return GaussianPosterior((posterior.mean - mean) / scale, log_variance)

    def frames(self, frames: slice) -> ContextualPrior:
        """The same prior for some of the frames."""
        mean, scale = self.context.mean[:, frames], self.context.scale[:, frames]
        return ContextualPrior(self.base, Context(mean, scale))

    def decode_directions(self, u: torch.Tensor, frames: slice) -> torch.Tensor:
        """Log-variance (B, n, D, F) of D whitened latents (B, n, D, L) for each of n ``frames``."""
        mean, scale = (t[:, frames].unsqueeze(2) for t in (self.context.mean, self.context.scale))
        return self.base.decode(mean + scale * u)

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> GaussianPosterior:
        return self.whitened(self.base.encode(power, mask))

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.base.decode(self.context.mean.unsqueeze(1) + self.context.scale.unsqueeze(1) * z, mask)

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        return self.base.log_prior(z)

    def conditional_prior(self, z: torch.Tensor) -> None:
        return None

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.decode(z, mask), self.log_prior(z)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        return self.base.encoder_parameters()


def within(prior: LatentPrior, context: Context | None) -> LatentPrior:
    """``prior`` with the latents of ``context``, where there is one."""
    return prior if context is None else ContextualPrior(prior, context)
