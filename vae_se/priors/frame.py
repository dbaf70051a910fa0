"""What priors without memory share: one posterior and one decoder pass per frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..likelihood import LOG_PI, frame_nll, standard_normal_log_prob
from ..numerics import POWER_FLOOR
from ..signal_spec import SignalSpec
from .base import Reconstruction

#: An exponentially distributed power |s|^2 of mean v has E[log |s|^2] = log v - EULER (Euler's constant).
EULER = 0.5772156649015329


def complex_gaussian_nll(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """sum_f [eta_f + (|s_f|^2 + floor) / exp(eta_f)]: -log N_c less F log(pi), of shapes (..., F).

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018, eq. 2. The floor of numerics.py is added, as the encoder adds it before its
    logarithm: digital silence is very quiet noise to both.
    """
    return frame_nll(log_variance, (power + POWER_FLOOR) * torch.exp(-log_variance))


class FramePrior(nn.Module):
    """Base of priors whose frames are independent; subclasses have ``encode`` and ``decode``.

    Standard normal latents and the complex Gaussian likelihood, unless a subclass says otherwise.
    """

    factorised = True
    standard_normal = True
    takes_activity = False
    #: For the model card: what the prior is; what its figures do not mean; whether KL falls apart by latents.
    summary = "A variational autoencoder"
    caution = ""
    counts_latents = True
    signal: SignalSpec
    latent_dim: int

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        """Posterior object over the latents of ``power`` (B, N, F); frames do not see each other."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (..., F) of latents (..., L)."""
        raise NotImplementedError

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log N(z; 0, I), one value per frame."""
        return standard_normal_log_prob(z)

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-variances (B, R, N, F) and log p(z) (B, R, N) of latents (B, R, N, L)."""
        return self.decode(z), self.log_prior(z)

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) from p(z) = N(0, I); independent from frame to frame, as the model says."""
        like = next(self.parameters())
        shape = (1, 1, frames, self.latent_dim)
        z = torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device)
        return z.to(like.device)

    def finish(self, power: torch.Tensor) -> None:
        """What can be known only after training, from some training frames |s|^2 (N, F); here nothing."""

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), (..., N)."""
        return complex_gaussian_nll(power, log_variance)

    def reconstruct(
        self, power: torch.Tensor, generator: torch.Generator | None = None, mask: torch.Tensor | None = None
    ) -> Reconstruction:
        """One draw of z a frame (Kingma and Welling, Auto-encoding variational Bayes, 2014, eq. 10)."""
        posterior = self.encode(power)
        z, log_q = posterior.rsample(1, generator)
        return Reconstruction(self.decode(z)[:, 0], self.divergence(posterior, z, log_q))

    def divergence(self, posterior: Any, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """KL(q || p) of every frame, (B, N, D); draws ``z`` (B, 1, N, L) for those who have to estimate it."""
        kl: torch.Tensor = posterior.kl_by_dimension()
        return kl

    def proposal(self, power: torch.Tensor) -> Any:
        """What importance sampling of p(z | s) draws from: q, where it has a density."""
        return self.encode(power)

    def log_weight(
        self,
        power: torch.Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """log p(s, z) - log q(z | s) at ``draws`` draws from q, (B, R, N)."""
        z, log_q = self.proposal(power).rsample(draws, generator)
        nll = self.nll(power.unsqueeze(1), self.decode(z))
        return self.log_prior(z) - nll - power.shape[-1] * LOG_PI - log_q
