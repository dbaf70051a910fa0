"""Log-spectral amplitude estimator."""

from __future__ import annotations

import numpy as np

from ..noise.tracking import floored, mmse_tracker, smoothing
from .base import baseline
from .gains import log_mmse_gain, run
from .spectral import Spectral, filtered


@baseline(
    "log-mmse",
    "Y. Ephraim, D. Malah, Speech enhancement using a minimum mean-square error log-spectral amplitude "
    "estimator, 1985; noise: T. Gerkmann, R. C. Hendriks, 2012",
)
def log_mmse(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Minimum mean-square error of the log amplitude; decision-directed a priori SNR (0.98 at 8 ms).

    Departures: the noise comes from the unbiased MMSE tracker, and xi is at least -25 dB.
    """

    def gain(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
        noise = mmse_tracker(spectral.steady_power(spectrogram), spectral.hop_seconds)
        keep = smoothing(0.98, spectral.hop_seconds, 0.008)
        return run(floored(np.square(np.abs(spectrogram))), noise, log_mmse_gain, keep)[0]

    return filtered(noisy, rate, gain)
