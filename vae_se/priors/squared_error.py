"""The textbook VAE on spectra: a Gaussian of fixed variance, hence a squared error, on log-power."""

from __future__ import annotations

import math

import torch

from ..numerics import POWER_FLOOR
from .base import PRIORS
from .ffvae import FFVAE
from .frame import EULER

#: Variance of the logarithm of an exponentially distributed power, which |s|^2 is under the complex Gaussian.
LOG_POWER_VARIANCE = math.pi**2 / 6


def log_normal_misfit(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """-log p(s) less F log(pi), summed over bins, (..., N), on the same scale as the complex Gaussian's.

    p(s) = N(t; m, pi^2 / 6) / (pi (|s|^2 + floor)) with t = log(|s|^2 + floor) and m = eta - gamma: with
    |s|^2 = r and a uniform phase p(s) = p(r) / pi, and dt / dr = 1 / (r + floor).
    """
    log_power = torch.log(power + POWER_FLOOR)
    squared = (log_power - log_variance + EULER).square() / LOG_POWER_VARIANCE
    return (0.5 * (squared + math.log(2 * math.pi * LOG_POWER_VARIANCE)) + log_power).sum(-1)


@PRIORS.add("ffvae-squared-error")
class SquaredErrorVAE(FFVAE):
    """z ~ N(0, I_L);  t_f | z ~ N(m_f(z), pi^2 / 6) with t_f = log(|s_f|^2 + floor), q as in ``ffvae``.

    Kingma and Welling, Auto-encoding variational Bayes, 2014, appendix C.2, with a fixed variance: the decoder
    gives a mean, and the reconstruction term is a squared error on a transform of the spectrum. The phase of s
    is uniform. The variance is that of log |s|^2 under the complex Gaussian, so that the two likelihoods have
    the same width and differ by their shape: log |s|^2 has a long tail towards small powers, and none
    upwards, where the Gaussian has the same one on both sides.

    For enhancement the decoder must give a variance: eta_f = m_f + gamma (Euler's constant), the log-variance
    whose E[log |s_f|^2] is m_f. The network's output is eta itself.
    """

    summary = "A variational autoencoder, trained by the squared error of log-power,"
    caution = (
        "Its likelihood is not the complex Gaussian's: the reconstruction is on the same scale, but what "
        "stands under Itakura-Saito is that reconstruction less a constant of the data, and no such divergence."
    )

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), (..., N)."""
        return log_normal_misfit(power, log_variance)
