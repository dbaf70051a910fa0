"""The complex Gaussian likelihood and the divergences that belong to it. No factor 1/2 anywhere."""

from __future__ import annotations

import math

import torch

LOG_PI = math.log(math.pi)


def complex_gaussian_log_prob(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """log N_c(x; 0, v) = -log(pi) - log v - |x|^2 / v, element by element.

    Circularly symmetric complex Gaussian (Neeser and Massey, Proper complex random processes with
    applications to information theory, 1993). ``power`` is |x|^2 and ``log_variance`` is log v, of
    shapes that broadcast.
    """
    return -LOG_PI - log_variance - power * torch.exp(-log_variance)


def itakura_saito(power: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """d_IS(power | variance) = power / variance - log(power / variance) - 1, element by element.

    Févotte, Bertin and Durrieu, Nonnegative matrix factorization with the Itakura-Saito divergence,
    2009, eq. 9. Equal to -log N_c up to terms of ``power`` alone.
    """
    ratio = power / variance
    return ratio - torch.log(ratio) - 1


def gaussian_log_prob(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Log-density of a real diagonal Gaussian, summed over the last dimension."""
    quadratic = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (math.log(2 * math.pi) + log_variance + quadratic).sum(-1)


def standard_normal_log_prob(z: torch.Tensor) -> torch.Tensor:
    """Log-density of N(0, I), summed over the last dimension: with its 1/2."""
    return -0.5 * (math.log(2 * math.pi) + z.square()).sum(-1)


def gaussian_kl_by_dimension(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), element by element.

    Kingma and Welling, Auto-encoding variational Bayes, 2014, appendix B.
    """
    return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance)


def gaussian_kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """The same, summed over the last dimension."""
    return gaussian_kl_by_dimension(mean, log_variance).sum(-1)


def gaussian_kl_between(
    mean: torch.Tensor, log_variance: torch.Tensor, other_mean: torch.Tensor, other_log_variance: torch.Tensor
) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(other_mean, exp(other_log_variance))), element by element."""
    difference = (mean - other_mean).square() * torch.exp(-other_log_variance)
    ratio = log_variance - other_log_variance
    return 0.5 * (difference + torch.exp(ratio) - 1 - ratio)


def gaussian_entropy(log_variance: torch.Tensor) -> torch.Tensor:
    """Entropy of a diagonal Gaussian, summed over the last dimension."""
    return 0.5 * (math.log(2 * math.pi) + 1 + log_variance).sum(-1)
