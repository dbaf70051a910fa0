"""The two terms of the evidence lower bound of the variance model."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from ..numerics import POWER_FLOOR
from ..priors import SpeechPrior
from ..priors.dynamical.autoregressive import AutoRegressive


@dataclasses.dataclass(frozen=True)
class Terms:
    """Terms per frame in nats, each (M,) over the frames that exist.

    ``reconstruction``: -log p(s | z) less the constant F log(pi); ``kl``: KL(q(z | s) || p(z)) or its
    one-draw estimate; ``kl_by_dimension`` (D,): mean of the KL over frames, per latent where it is a sum over
    latents. The negative ELBO is reconstruction + kl.
    """

    reconstruction: torch.Tensor
    kl: torch.Tensor
    kl_by_dimension: torch.Tensor


def elbo_terms(
    prior: SpeechPrior,
    power: torch.Tensor,
    generator: torch.Generator | None,
    mask: torch.Tensor | None = None,
    own_past: float = 0.0,
) -> Terms:
    """Both terms for the power |s|^2 of frames, with one reparameterised draw of z per frame.

    ``power``: (N, F) of unrelated frames, or (B, N, F) of sequences with ``mask`` (B, N), 1 where a frame
    exists. ``own_past``: probability that an autoregressive prior conditions on its own output in place of
    the past of the speech. Raises UsageError where it is above 0 for another prior.

    Kingma and Welling, Auto-encoding variational Bayes, 2014; for dynamical priors Girin et al., Dynamical
    variational autoencoders: a comprehensive review, 2021, ch. 4: the divergence of each step is conditioned on
    the steps drawn before it.
    """
    if power.ndim == 2:
        power = power.unsqueeze(0)
    if isinstance(prior, AutoRegressive):
        result = prior.reconstruct(power, generator, mask, own_past)
    elif own_past:
        raise UsageError(f"train.own_past = {own_past}", "only an autoregressive prior has it: set it to 0")
    else:
        result = prior.reconstruct(power, generator, mask)
    exists = slice(None) if mask is None else mask.flatten() > 0
    kl = result.kl.flatten(0, 1)[exists]
    reconstruction = prior.nll(power, result.log_variance).flatten()[exists]
    return Terms(reconstruction, kl.sum(-1), kl.mean(0))


def loss(terms: Terms, beta: float, free_bits: float = 0.0) -> torch.Tensor:
    """The training objective: mean reconstruction + ``beta`` * mean KL, a scalar.

    With ``free_bits`` > 0 the KL of each latent (its mean over the batch) is replaced by the maximum of it and
    ``free_bits`` nats: Kingma et al., Improving variational inference with inverse autoregressive flow, 2016.
    """
    kl = terms.kl_by_dimension.clamp(min=free_bits).sum() if free_bits > 0 else terms.kl.mean()
    return terms.reconstruction.mean() + beta * kl


def itakura_saito_from(reconstruction: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Itakura-Saito divergence per frame (N,) from the reconstruction term (N,) and the power |s|^2 (N, F).

    sum_f [p/v - log(p/v) - 1] = sum_f [log v + p/v] - sum_f [log p + 1], with the floored power p. Under the
    true variance its expectation is about 0.577 F, since the power has an exponential distribution.
    """
    return reconstruction - (torch.log(power + POWER_FLOOR) + 1).sum(-1)
