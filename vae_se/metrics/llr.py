"""Log-likelihood ratio between the linear-prediction spectra of two waveforms."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from .segmental import loizou_frames


def _autocorrelation(windowed: np.ndarray, order: int) -> np.ndarray:
    """Lags 0..order of each frame: (N, W) to (N, order + 1)."""
    size = next_fast_len(windowed.shape[1] + order + 1, real=True)
    return irfft(np.square(np.abs(rfft(windowed, size, axis=1))), size, axis=1)[:, : order + 1]


def linear_prediction(auto: np.ndarray) -> np.ndarray:
    """Prediction-error filters (N, P + 1), first tap 1, from autocorrelations (N, P + 1).

    Levinson-Durbin recursion, vectorised over frames.

    >>> linear_prediction(np.array([[1.0, 0.5]]))
    array([[ 1. , -0.5]])
    """
    count, taps = auto.shape
    filters = np.zeros((count, taps))
    filters[:, 0] = 1.0
    tiny = np.finfo(np.float64).tiny
    error = np.maximum(auto[:, 0], tiny)
    for step in range(1, taps):
        mirrored = auto[:, step:0:-1]
        reflection = -np.sum(filters[:, :step] * mirrored, axis=1) / error
        # Rounding can give a reflection coefficient above 1 where a frame is perfectly predictable.
        reflection = np.clip(reflection, -1.0, 1.0)[:, None]
        filters[:, 1 : step + 1] = filters[:, 1 : step + 1] + reflection * filters[:, step - 1 :: -1][:, :step]
        error = np.maximum(error * (1.0 - reflection[:, 0] ** 2), tiny)
    return filters


def log_likelihood_ratio(reference: np.ndarray, estimate: np.ndarray, rate: int) -> np.ndarray:
    """Log ratio (N,) of the prediction errors of each frame of two waveforms (T,), not limited.

    log(a_y' R_s a_y / a_s' R_s a_s) with R_s the reference's autocorrelation, a_s and a_y the prediction
    filters of reference and estimate, of order 16 (10 below 10 kHz): S. R. Quackenbush, T. P. Barnwell,
    M. A. Clements, Objective measures of speech quality, 1988; Hu and Loizou 2008. Frames of 30 ms.
    """
    order = 16 if rate >= 10000 else 10
    auto = _autocorrelation(loizou_frames(reference, rate), order)
    a_reference = linear_prediction(auto)
    a_estimate = linear_prediction(_autocorrelation(loizou_frames(estimate, rate), order))
    lag = np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))
    matrix = auto[:, lag]
    numerator = np.einsum("ni,nij,nj->n", a_estimate, matrix, a_estimate)
    denominator = np.einsum("ni,nij,nj->n", a_reference, matrix, a_reference)
    tiny = np.finfo(np.float64).tiny
    return np.log(np.maximum(numerator, tiny) / np.maximum(denominator, tiny))
