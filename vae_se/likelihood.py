"""Likelihoods and divergences, one formula each: complex Gaussian, Itakura-Saito, real Gaussian.

The complex Gaussian has no factor 1/2; the real Gaussian has its usual one.
"""

from __future__ import annotations

import dataclasses
import math

import torch

LOG_PI = math.log(math.pi)


@dataclasses.dataclass(frozen=True)
class LogVariances:
    """Log-variances of the two parts of x = s + b: ``speech`` and ``noise``, both (B, N, F)."""

    speech: torch.Tensor
    noise: torch.Tensor


def frame_nll(log_variance: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """-log N_c(x; 0, v) of a frame without its constant F log(pi): sum_f (log v_f + |x_f|^2 / v_f).

    ``log_variance`` is log v and ``ratio`` is |x|^2 / v, both (..., F); the result is (...,). Training, the
    EM loop and speech presence all compute the likelihood by this line.

    Circularly symmetric complex Gaussian: Neeser and Massey, Proper complex random processes with applications
    to information theory, 1993.

    >>> v = torch.tensor([1.0, 2.0])
    >>> frame_nll(v.log(), torch.tensor([3.0, 4.0]) / v)  # 0 + 3 + log(2) + 2
    tensor(5.6931)
    """
    return (log_variance + ratio).sum(-1)


def frame_log_prob(log_variance: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """log N_c(x; 0, v) = -log(pi v) - |x|^2 / v, summed over the bins of a frame: (..., F) to (...,).

    The arguments are those of :func:`frame_nll`.
    """
    return -frame_nll(log_variance, ratio) - LOG_PI * log_variance.shape[-1]


def complex_gaussian_log_prob(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """log N_c(x; 0, v) = -log(pi) - log v - |x|^2 / v, element by element.

    ``power`` is |x|^2 and ``log_variance`` is log v; their shapes broadcast.

    >>> complex_gaussian_log_prob(torch.tensor(1.0), torch.tensor(0.0))  # -log(pi) - 1
    tensor(-2.1447)
    """
    return -LOG_PI - log_variance - power * torch.exp(-log_variance)


def itakura_saito(power: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """d_IS(power | variance) = power / variance - log(power / variance) - 1, element by element.

    It equals -log N_c up to terms of ``power`` alone. Févotte, Bertin and Durrieu, Nonnegative matrix
    factorization with the Itakura-Saito divergence, 2009.

    >>> itakura_saito(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor([0.0000, 0.3069])
    """
    ratio = power / variance
    return ratio - torch.log(ratio) - 1


def gaussian_log_prob(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Log-density of a real Gaussian with diagonal covariance, summed over the last dimension."""
    quadratic = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (math.log(2 * math.pi) + log_variance + quadratic).sum(-1)


def standard_normal_log_prob(z: torch.Tensor) -> torch.Tensor:
    """Log-density of N(0, I), summed over the last dimension.

    >>> standard_normal_log_prob(torch.zeros(2))  # -log(2 pi)
    tensor(-1.8379)
    """
    return -0.5 * (math.log(2 * math.pi) + z.square()).sum(-1)


def gaussian_kl_by_dimension(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), element by element.

    Kingma and Welling, Auto-encoding variational Bayes, 2014, appendix B.

    >>> gaussian_kl_by_dimension(torch.tensor([0.0, 1.0]), torch.zeros(2))
    tensor([0.0000, 0.5000])
    """
    return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance)


def gaussian_kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """The divergence of :func:`gaussian_kl_by_dimension`, summed over the last dimension."""
    return gaussian_kl_by_dimension(mean, log_variance).sum(-1)


def gaussian_kl_between(
    mean: torch.Tensor, log_variance: torch.Tensor, other_mean: torch.Tensor, other_log_variance: torch.Tensor
) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(other_mean, exp(other_log_variance))), element by element."""
    difference = (mean - other_mean).square() * torch.exp(-other_log_variance)
    ratio = log_variance - other_log_variance
    return 0.5 * (difference + torch.exp(ratio) - 1 - ratio)


def gaussian_entropy(log_variance: torch.Tensor) -> torch.Tensor:
    """Entropy of a real Gaussian with diagonal covariance, summed over the last dimension."""
    return 0.5 * (math.log(2 * math.pi) + 1 + log_variance).sum(-1)
