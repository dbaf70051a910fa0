"""Wiener filter with the decision-directed a priori SNR."""

from __future__ import annotations

import numpy as np

from ..noise.tracking import floored, mmse_tracker, smoothing
from .base import baseline
from .gains import run, wiener_gain
from .spectral import Spectral, filtered


@baseline(
    "wiener-dd",
    "P. Scalart, J. V. Filho, Speech enhancement based on a priori signal to noise estimation, ICASSP 1996; "
    "noise: T. Gerkmann, R. C. Hendriks, 2012",
)
def wiener_dd(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """xi / (1 + xi) with the decision-directed xi (smoothing 0.98 at a hop of 8 ms).

    Departure: the noise comes from the unbiased MMSE tracker instead of an initial segment without speech.
    """

    def gain(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
        noise = mmse_tracker(spectral.steady_power(spectrogram), spectral.hop_seconds)
        keep = smoothing(0.98, spectral.hop_seconds, 0.008)
        return run(floored(np.square(np.abs(spectrogram))), noise, wiener_gain, keep)[0]

    return filtered(noisy, rate, gain)
