"""The textbook VAE on log-power spectra: a Gaussian of fixed variance, hence a squared error."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..deprecated import renamed_attribute
from ..numerics import POWER_FLOOR
from .base import PRIORS
from .ffvae import FFVAE
from .frame import EULER

#: Variance of the logarithm of a power |s|^2 under the complex Gaussian, where the power is exponential.
LOG_POWER_VARIANCE = math.pi**2 / 6


def log_normal_nll(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """-log p(s) less F log(pi), in nats, (...) of (..., F); comparable with the complex Gaussian's.

    p(s) = N(t; m, pi^2 / 6) / (pi (|s|^2 + floor)) with t = log(|s|^2 + floor) and m = eta - gamma, gamma
    Euler's constant. With r = |s|^2 and a uniform phase, p(s) = p(r) / pi and dt / dr = 1 / (r + floor).
    """
    log_power = torch.log(power + POWER_FLOOR)
    squared = (log_power - log_variance + EULER).square() / LOG_POWER_VARIANCE
    return (0.5 * (squared + math.log(2 * math.pi * LOG_POWER_VARIANCE)) + log_power).sum(-1)


@PRIORS.add("ffvae-squared-error")
class SquaredErrorVAE(FFVAE):
    """z ~ N(0, I_L);  t_f | z ~ N(m_f(z), pi^2 / 6) with t_f = log(|s_f|^2 + floor), q as in ``ffvae``.

    A Gaussian decoder (Kingma and Welling, Auto-encoding variational Bayes, 2014) of fixed variance: the
    reconstruction term is a squared error of log-power. The phase of s is uniform. The variance is that of
    log |s|^2 under the complex Gaussian, so the two likelihoods have the same width; they differ in shape. The
    density of log |s|^2 under the complex Gaussian has a long tail towards small powers, this one is symmetric.

    Enhancement needs a variance: the output is eta_f = m_f + gamma, with Euler's constant gamma, the
    log-variance under which E[log |s_f|^2] = m_f.
    """

    summary = "A variational autoencoder trained by the squared error of log-power"
    caution = (
        "The likelihood of this prior is not the complex Gaussian. Its reconstruction term has the same "
        "scale, but the column Itakura-Saito holds this term less a constant of the data, which is no "
        "Itakura-Saito divergence."
    )

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), (..., N)."""
        return log_normal_nll(power, log_variance)


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name)
