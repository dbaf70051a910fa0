"""Priors whose frames are independent: one posterior and one decoder pass per frame."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch

from ..likelihood import LOG_PI, frame_nll, standard_normal_log_prob
from ..numerics import POWER_FLOOR
from ..signal_spec import SignalSpec
from .base import Reconstruction
from .posterior import Posterior
from .stored import StoredPrior

#: Euler's constant. A power |s|^2 with an exponential distribution of mean v has E[log |s|^2] = log v - EULER.
EULER = 0.5772156649015329

#: The kind of posterior that a prior's encoder returns.
Q = TypeVar("Q", bound=Posterior)


def complex_gaussian_nll(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """sum_f [eta_f + (|s_f|^2 + floor) / exp(eta_f)]: -log N_c less F log(pi), in nats; (...) of (..., F).

    The likelihood of Leglaive, Girin and Horaud, A variance modeling framework based on variational
    autoencoders for speech enhancement, 2018. The power floor of numerics.py is added here as in the encoder's
    input, so that digital silence counts as very quiet noise in both.

    >>> complex_gaussian_nll(torch.ones(3), torch.zeros(3)).round().item()
    3.0
    """
    return frame_nll(log_variance, (power + POWER_FLOOR) * torch.exp(-log_variance))


class FramePrior(StoredPrior, Generic[Q]):
    """Base of priors whose frames are independent; a subclass defines ``encode``, ``decode``, ``divergence``.

    Latents are standard normal and the likelihood is complex Gaussian, unless a subclass overrides them.
    ``Q`` is the type of the posterior.
    """

    factorised = frame_decoder = True
    standard_normal = True
    signal: SignalSpec
    latent_dim: int

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> Q:
        """q(z | s) for ``power`` (B, N, F); each frame's posterior depends on that frame alone."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (..., F) of latents (..., L)."""
        raise NotImplementedError

    def divergence(self, posterior: Q, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """KL(q || p) of each frame, (B, N, D).

        ``z`` (B, 1, N, L) is a draw from q with log-density ``log_q`` (B, 1, N), for one-draw estimates.
        """
        raise NotImplementedError

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log N(z_n; 0, I) of each frame: (...) of (..., L)."""
        return standard_normal_log_prob(z)

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-variances (B, R, N, F) and log p(z) (B, R, N) of latents (B, R, N, L)."""
        return self.decode(z), self.log_prior(z)

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) from p(z) = N(0, I), independent from frame to frame."""
        like = next(self.parameters())
        shape = (1, 1, frames, self.latent_dim)
        z = torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device)
        return z.to(like.device)

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), (..., N)."""
        return complex_gaussian_nll(power, log_variance)

    def reconstruct(
        self, power: torch.Tensor, generator: torch.Generator | None = None, mask: torch.Tensor | None = None
    ) -> Reconstruction:
        """Decode one draw of z per frame (Kingma and Welling, Auto-encoding variational Bayes, 2014)."""
        posterior = self.encode(power)
        z, log_q = posterior.rsample(1, generator)
        return Reconstruction(self.decode(z)[:, 0], self.divergence(posterior, z, log_q))

    def proposal(self, power: torch.Tensor) -> Posterior:
        """The proposal of importance sampling for p(z | s): q, unless q has no density."""
        return self.encode(power)

    def log_weight(
        self,
        power: torch.Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """log p(s, z) - log q(z | s) at ``draws`` draws from the proposal, (B, R, N)."""
        z, log_q = self.proposal(power).rsample(draws, generator)
        nll = self.nll(power.unsqueeze(1), self.decode(z))
        return self.log_prior(z) - nll - power.shape[-1] * LOG_PI - log_q
