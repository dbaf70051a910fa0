"""Noise whose log-variance is Gaussian: its likelihood, and the coverage of its intervals.

Given n, the noise b of a bin is complex Gaussian with variance n. Given the recording, n is log-normal: its
mean is the network's noise variance, and log n has standard deviation t. |b|^2 is then n times a standard
exponential variable, and expectations over log n are sums by Gauss-Hermite quadrature.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..numerics import POWER_FLOOR

# Nodes and weights of the quadrature: exact to 0.1 nats for t up to 0.9 (tests/unit/test_noise_width.py).
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_LOG_WEIGHTS = np.log(_WEIGHTS / _WEIGHTS.sum())


def width_nll(power: torch.Tensor, log_noise: torch.Tensor, noise_std: torch.Tensor) -> torch.Tensor:
    """-log p(b | x) less log(pi), summed over bins: (...) of ``power`` = |b|^2, log E[n | x] and t (..., F).

    It fits t alone: the mean counts as a constant, since a robust likelihood trains it.
    """
    log_power = torch.log(power + POWER_FLOOR)
    terms = []
    for log_weight, log_variance in _variances(log_noise.detach(), noise_std):
        terms.append(log_weight - log_variance - torch.exp(log_power - log_variance))
    return -torch.logsumexp(torch.stack(terms), 0).sum(-1)


def noise_coverage(
    power: torch.Tensor, log_noise: torch.Tensor, noise_std: torch.Tensor, central: float = 0.9
) -> torch.Tensor:
    """How often |b|^2 lies between its quantiles (1 - ``central``) / 2 and (1 + ``central``) / 2, a scalar."""
    below = torch.zeros_like(power)  # probability of less power
    for log_weight, log_variance in _variances(log_noise, noise_std):
        below -= np.exp(log_weight) * torch.expm1(-power * torch.exp(-log_variance))
    return ((below - 0.5).abs() < central / 2).float().mean()


def _variances(log_mean: torch.Tensor, std: torch.Tensor) -> Iterator[tuple[float, torch.Tensor]]:
    """Logarithm of the weight, and log n, at each node."""
    median = log_mean - std.square() / 2
    for node, log_weight in zip(_NODES.tolist(), _LOG_WEIGHTS.tolist(), strict=True):
        yield log_weight, median + node * std
