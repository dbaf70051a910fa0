"""The feed-forward VAE on STFT frames."""

from __future__ import annotations

import torch
from torch import nn

from .base import PRIORS
from .feedforward import FeedForward
from .posterior import GaussianPosterior


@PRIORS.add("ffvae")
class FFVAE(FeedForward):
    """z ~ N(0, I_L);  s_f | z ~ N_c(0, exp(eta_f(z)));  q(z | s) = N(mu(|s|^2), diag sigma^2(|s|^2)).

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018, eqs. 1 to 9; Girin, Leglaive, Bie, Diard, Hueber and Alameda-Pineda, Dynamical
    variational autoencoders: a comprehensive review, 2021, ch. 2. Decoder: ``hidden`` layers, then a
    linear layer to F log-variances. Encoder: the mirror image, then two linear heads.

    Departures, which change how the model trains and not what it is: the encoder sees standardised
    log-power (a function of the modulus alone), and the decoder's linear layer starts at the mean
    log-spectrum of the training speech.
    """

    def make_heads(self, size: int) -> None:
        """Two linear layers: mean and log-variance of q, which starts at a variance of 1."""
        self.mean_head = nn.Linear(size, self.latent_dim)
        self.log_variance_head = nn.Linear(size, self.latent_dim)
        nn.init.zeros_(self.log_variance_head.weight)
        nn.init.zeros_(self.log_variance_head.bias)

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> GaussianPosterior:
        """Posterior of the latents of |s|^2, (B, N, F)."""
        hidden = self.encoder(self.features(power))
        return GaussianPosterior(self.mean_head(hidden), self.log_variance_head(hidden))
