"""The divergence of a product of Gaussians from p(z)."""

from __future__ import annotations

import torch

from ...likelihood import gaussian_kl, gaussian_kl_between
from ..target import Target


def divergence_from_prior(target: Target, moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """KL(q || p(z)) of every frame, (B, N), and its gradient by the ``moments`` of q.

    These are mean and log-variance, (2, B, N, L). None where the prior has no closed form.

    If the prior ties the frames together it is the sum of KL(q(z_n) || p(z_n | m_1..n-1)), with the earlier
    latents at their means m. Under the exact divergence a frame pays for the spread of the frames before it,
    which a product cannot correlate with its own; that favours stretches without dynamics, such as silence
    (docs/dynamical.md).
    """
    mean, log_variance = moments
    if target.prior.standard_normal:
        gradient = torch.stack([mean, 0.5 * (log_variance.exp() - 1)])
        return gaussian_kl(mean, log_variance), gradient
    with torch.enable_grad():
        leaf = moments.detach().requires_grad_()
        prior = target.prior.conditional_prior(leaf[0].unsqueeze(1))
        if prior is None:
            return None
        by_latent = gaussian_kl_between(leaf[0], leaf[1], prior[0][:, 0], prior[1][:, 0])
        divergence = by_latent.sum(-1) * target.mask
        total = divergence.sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return divergence.detach(), gradient
