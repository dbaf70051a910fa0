"""Magnitude spectral subtraction in its original form."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from ..noise.tracking import minimum_statistics
from .base import baseline
from .spectral import Spectral, filtered

_MAX_RESIDUAL = 1.5  # largest noise residual, relative to the mean magnitude of the noise
_ABSENT_DB = -12.0  # mean of the residual over the noise below which a frame has no speech
_ATTENUATION = 10.0 ** (-30 / 20)  # attenuation of frames without speech


@baseline(
    "spectral-subtraction",
    "S. F. Boll, Suppression of acoustic noise in speech using spectral subtraction, 1979; noise: R. Martin, "
    "2001",
)
def spectral_subtraction(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Boll's four steps.

    They are: averaging of the magnitude, subtraction of the mean noise magnitude with rectification,
    reduction of the noise residual, attenuation of frames without speech. Departures: the mean magnitude of
    the noise, sqrt(pi / 4) of its RMS (complex Gaussian), comes from minimum statistics instead of a speech
    detector, and the largest residual is a multiple of it.
    """

    def gain(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
        magnitude = np.abs(spectrogram)
        power = minimum_statistics(spectral.steady_power(spectrogram), spectral.hop_seconds)
        noise = math.sqrt(math.pi / 4) * np.sqrt(power)
        # Boll averages three frames half a window apart. With this hop that is a window and a half.
        span = 2 * (spectral.window // spectral.hop) // 2 + 1
        rest = np.maximum(uniform_filter1d(magnitude, span, axis=0, mode="nearest") - noise, 0.0)
        reduced = np.minimum(rest, minimum_filter1d(rest, 3, axis=0, mode="nearest"))
        rest = np.where(rest < _MAX_RESIDUAL * noise, reduced, rest)
        level = 20.0 * np.log10(np.mean(rest / noise, axis=1, keepdims=True) + 1e-12)
        silent = level < _ABSENT_DB
        result = np.where(silent, _ATTENUATION * magnitude, np.minimum(rest, magnitude))
        return result / np.maximum(magnitude, 1e-30)

    return filtered(noisy, rate, gain)
