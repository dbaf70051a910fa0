"""The feed-forward VAE on STFT frames."""

from __future__ import annotations

import torch

from .base import PRIORS
from .feedforward import TwoHeads
from .posterior import GaussianPosterior


@PRIORS.add("ffvae")
class FFVAE(TwoHeads[GaussianPosterior]):
    """z ~ N(0, I_L);  s_f | z ~ N_c(0, exp(eta_f(z)));  q(z | s) = N(mu(|s|^2), diag sigma^2(|s|^2)).

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018; Girin, Leglaive, Bie, Diard, Hueber and Alameda-Pineda, Dynamical variational
    autoencoders: a comprehensive review, 2021, ch. 2.

    Departures from the paper, which change the optimisation and not the model: the encoder's input is the
    standardised log-power, and the output layer starts at the mean log-spectrum of the training speech.
    """

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> GaussianPosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        hidden = self.through(self.encoder, self.features(power))
        return GaussianPosterior(self.mean_head(hidden), self.log_variance_head(hidden))

    def divergence(self, posterior: GaussianPosterior, z: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
        """KL(q || p) of each latent in closed form, (B, N, L)."""
        return posterior.kl_by_dimension()
