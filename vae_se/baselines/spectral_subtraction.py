"""Magnitude spectral subtraction, as it was first done."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from ..noise.tracking import minimum_statistics
from .base import baseline
from .spectral import Spectral, filtered

_RESIDUE = 1.5  # largest residue of the noise, over its mean magnitude
_ABSENT_DB = -12.0  # mean of the residue over the noise, below which a frame has no speech
_ATTENUATION = 10.0 ** (-30 / 20)  # of the frames without speech


@baseline(
    "spectral-subtraction",
    "S. F. Boll, Suppression of acoustic noise in speech using spectral subtraction, 1979; noise: R. Martin, "
    "2001",
)
def spectral_subtraction(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Boll's four steps: average the magnitude, subtract the noise's mean and rectify, reduce the residue,
    attenuate frames without speech (sections II-E to II-H).

    Departures: the mean magnitude of the noise, sqrt(pi / 4) of its RMS (complex Gaussian), comes from
    minimum statistics, not from a detector of pauses; the largest residue is a multiple of it.
    """

    def gain(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
        magnitude = np.abs(spectrogram)
        power = minimum_statistics(spectral.steady_power(spectrogram), spectral.hop_seconds)
        noise = math.sqrt(math.pi / 4) * np.sqrt(power)
        # Boll averaged three frames half a window apart: with our hop, a window and a half.
        span = 2 * (spectral.window // spectral.hop) // 2 + 1
        rest = np.maximum(uniform_filter1d(magnitude, span, axis=0, mode="nearest") - noise, 0.0)
        reduced = np.minimum(rest, minimum_filter1d(rest, 3, axis=0, mode="nearest"))
        rest = np.where(rest < _RESIDUE * noise, reduced, rest)
        level = 20.0 * np.log10(np.mean(rest / noise, axis=1, keepdims=True) + 1e-12)
        silent = level < _ABSENT_DB
        result = np.where(silent, _ATTENUATION * magnitude, np.minimum(rest, magnitude))
        return result / np.maximum(magnitude, 1e-30)

    return filtered(noisy, rate, gain)
