"""The evidence lower bound of the variance model, in its two terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..numerics import POWER_FLOOR


@dataclasses.dataclass(frozen=True)
class Terms:
    """Per-frame terms, each (N,).

    ``reconstruction`` is sum_f [eta_f + |x_f|^2 / exp(eta_f)]: -log N_c less F log(pi), a constant.
    ``kl`` is KL(q(z|x) || N(0, I)); ``kl_by_dimension`` (L,) its mean over frames, latent by latent.
    The negative ELBO is reconstruction + kl.
    """

    reconstruction: torch.Tensor
    kl: torch.Tensor
    kl_by_dimension: torch.Tensor


def elbo_terms(prior: Any, power: torch.Tensor, generator: torch.Generator | None) -> Terms:
    """Both terms for frames |x|^2 of shape (N, F), with one reparametrised draw of z a frame.

    Kingma and Welling, Auto-encoding variational Bayes, 2014, eq. 10; the likelihood is Leglaive, Girin
    and Horaud, A variance modeling framework based on variational autoencoders for speech enhancement,
    2018, eqs. 2 and 8. The floor of numerics.py is added to what the likelihood sees, as the encoder adds
    it before its logarithm: digital silence is very quiet noise to both.
    """
    posterior = prior.encode(power.unsqueeze(0))
    z, _ = posterior.rsample(1, generator)
    eta = prior.decode(z)[0, 0]
    reconstruction = (eta + (power + POWER_FLOOR) * torch.exp(-eta)).sum(-1)
    mean, log_variance = posterior.mean[0], posterior.log_variance[0]
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return Terms(reconstruction, kl.sum(-1), kl.mean(0))


def loss(terms: Terms, beta: float, free_bits: float = 0.0) -> torch.Tensor:
    """What is minimised: mean reconstruction + beta * KL, a scalar.

    With ``free_bits`` lambda > 0 the KL of every latent dimension (its mean over the batch) counts only as
    far as it exceeds lambda nepers: Kingma et al., Improving variational inference with inverse
    autoregressive flow, 2016, eq. 15.
    """
    kl = terms.kl_by_dimension.clamp(min=free_bits).sum() if free_bits > 0 else terms.kl.mean()
    return terms.reconstruction.mean() + beta * kl


def itakura_saito_from(reconstruction: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Itakura-Saito divergence per frame (N,) from the reconstruction term (N,) and |x|^2 (N, F).

    sum_f [p/v - log(p/v) - 1] = sum_f [log v + p/v] - sum_f [log p + 1], with p floored as above. About
    0.577 F of it is not an error of the model: it is what a single observation of an exponentially
    distributed power costs even under its true variance.
    """
    return reconstruction - (torch.log(power + POWER_FLOOR) + 1).sum(-1)
