"""The evidence lower bound of the variance model, in its two terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..numerics import POWER_FLOOR


@dataclasses.dataclass(frozen=True)
class Terms:
    """Per-frame terms, each (M,) over the frames that exist.

    ``reconstruction`` is -log p(x | z) less F log(pi), a constant. ``kl`` is KL(q(z | x) || p(z)), or an
    estimate of it by the draw; ``kl_by_dimension`` (D,) its mean over frames, latent by latent where it
    falls apart so. The negative ELBO is reconstruction + kl.
    """

    reconstruction: torch.Tensor
    kl: torch.Tensor
    kl_by_dimension: torch.Tensor


def elbo_terms(
    prior: Any,
    power: torch.Tensor,
    generator: torch.Generator | None,
    mask: torch.Tensor | None = None,
    own_past: float = 0.0,
) -> Terms:
    """Both terms for frames |x|^2, with one reparametrised draw of z a frame.

    ``power`` (N, F), frames that have nothing to do with each other, or (B, N, F), sequences, of which
    ``mask`` (B, N) says what exists. ``own_past``: how often an autoregressive prior is given what it said
    itself in place of the speech's past; no other prior takes it.

    Kingma and Welling, Auto-encoding variational Bayes, 2014, eq. 10; for priors with memory Girin et al.,
    Dynamical variational autoencoders: a comprehensive review, 2021, ch. 4, with the divergence of each step
    given the steps drawn before it.
    """
    if power.ndim == 2:
        power = power.unsqueeze(0)
    more = {"own_past": own_past} if own_past else {}
    result = prior.reconstruct(power, generator, mask, **more)
    exists = slice(None) if mask is None else mask.flatten() > 0
    kl = result.kl.flatten(0, 1)[exists]
    reconstruction = prior.nll(power, result.log_variance).flatten()[exists]
    return Terms(reconstruction, kl.sum(-1), kl.mean(0))


def loss(terms: Terms, beta: float, free_bits: float = 0.0) -> torch.Tensor:
    """What is minimised: mean reconstruction + beta * KL, a scalar.

    With ``free_bits`` lambda > 0 the KL of every latent dimension (its mean over the batch) counts only as
    far as it exceeds lambda nats: Kingma et al., Improving variational inference with inverse
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
