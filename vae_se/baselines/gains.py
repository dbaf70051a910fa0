"""Spectral gains from the a priori SNR xi and the a posteriori SNR gamma, bin by bin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import exp1

_PRIOR_FLOOR = 10.0**-2.5  # xi_min = -25 dB: lower values cause musical noise (O. Cappe, 1994)
_POSTERIOR_CAP = 1e4  # keeps exp() and the recursion finite where the noise estimate is tiny

GainFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


def decision_directed(previous: np.ndarray, posterior: np.ndarray, keep: float) -> np.ndarray:
    """A priori SNR: ``keep * previous + (1 - keep) * max(gamma - 1, 0)``, at least -25 dB.

    Y. Ephraim, D. Malah, Speech enhancement using a minimum mean-square error short-time spectral amplitude
    estimator, 1984. ``previous``: the speech power estimated in the previous frame over its noise power.
    """
    return np.maximum(keep * previous + (1.0 - keep) * np.maximum(posterior - 1.0, 0.0), _PRIOR_FLOOR)


def wiener_gain(prior: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """xi / (1 + xi).

    >>> float(wiener_gain(np.array(1.0), np.array(2.0)))
    0.5
    """
    return prior / (1.0 + prior)


def log_mmse_gain(prior: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Gain of the log-spectral amplitude estimator (Ephraim and Malah 1985), at most 1.

    xi / (1 + xi) exp(E1(v) / 2) with v = xi gamma / (1 + xi). The formula exceeds 1 for gamma near 0.
    """
    wiener = prior / (1.0 + prior)
    v = np.maximum(wiener * posterior, 1e-10)
    return np.minimum(wiener * np.exp(0.5 * exp1(v)), 1.0)


def conditional_presence(prior: np.ndarray, posterior: np.ndarray, absence: np.ndarray) -> np.ndarray:
    """Posterior probability of speech, 1 / (1 + q / (1 - q) (1 + xi) exp(-v)), with ``absence`` q < 1."""
    v = np.minimum(prior * posterior / (1.0 + prior), 200.0)
    return 1.0 / (1.0 + absence / (1.0 - absence) * (1.0 + prior) * np.exp(-v))


def run(power: np.ndarray, noise: np.ndarray, gain: GainFunction, keep: float) -> tuple[np.ndarray, np.ndarray]:
    """Gain and a priori SNR, (N, F) each, by the decision-directed recursion with a gain function.

    ``power`` and ``noise`` are (N, F); ``keep`` is the smoothing constant of the recursion.
    """
    posterior = np.minimum(power / noise, _POSTERIOR_CAP)
    previous = np.maximum(posterior[0] - 1.0, 0.0)
    gains, priors = np.empty_like(power), np.empty_like(power)
    for n, gamma in enumerate(posterior):
        priors[n] = decision_directed(previous, gamma, keep)
        gains[n] = gain(priors[n], gamma)
        previous = np.square(gains[n]) * gamma
    return gains, priors
