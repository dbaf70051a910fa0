"""Optimally modified log-spectral amplitude estimator, with IMCRA."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from ..noise.tracking import floored, smoothing
from .base import baseline
from .gains import conditional_presence, log_mmse_gain, run
from .imcra import imcra
from .spectral import Spectral, filtered

_MIN_GAIN = 10.0 ** (-25 / 20)  # G_min, the gain where speech is absent
_ZETA = 10.0**-1.0, 10.0**-0.5  # zeta_min, zeta_max: -10 and -5 dB
_PEAK = 1.0, 10.0  # zeta_p_min, zeta_p_max: 0 and 10 dB
_MAX_ABSENCE = 0.95
_LOCAL_HZ, _GLOBAL_HZ = 31.25, 15 * 31.25  # half widths of the two windows over frequency


def _ramp(value: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, linear in dB between."""
    return np.clip(np.log(np.maximum(value, 1e-12) / low) / np.log(np.divide(high, low)), 0.0, 1.0)


def _window(half_width: int) -> np.ndarray:
    taper = np.hanning(2 * half_width + 3)[1:-1]
    return taper / taper.sum()


def _frame_presence(level: np.ndarray) -> np.ndarray:
    """P_frame (N,) from the mean a priori SNR of each frame (N,): 1 while it rises, then a ramp."""
    low, high = _ZETA
    out = np.zeros_like(level)
    peak = _PEAK[0]
    for n in range(1, level.size):
        if level[n] <= low:
            continue
        if level[n] > level[n - 1]:
            peak = float(np.clip(level[n], *_PEAK))
            out[n] = 1.0
        else:
            out[n] = _ramp(level[n], peak * low, peak * high)
    return out


def absence(prior: np.ndarray, spectral: Spectral) -> np.ndarray:
    """A priori probability of speech absence (N, F) from the a priori SNR (N, F), at most 0.95.

    I. Cohen, B. Berdugo, Speech enhancement for non-stationary noise environments, 2001:
    1 - P_local P_global P_frame, computed from xi averaged over time and over narrow and wide bands.
    """
    keep = smoothing(0.7, spectral.hop_seconds, 0.008)
    average = lfilter([1.0 - keep], [1.0, -keep], prior, axis=0, zi=keep * prior[:1])[0]
    bin_hz = spectral.rate / spectral.window
    low, high = _ZETA
    presence = _frame_presence(average.mean(axis=1))[:, None]
    for width in (_LOCAL_HZ, _GLOBAL_HZ):
        taper = _window(max(1, round(width / bin_hz)))
        presence = presence * _ramp(convolve1d(average, taper, axis=1, mode="nearest"), low, high)
    return np.minimum(1.0 - presence, _MAX_ABSENCE)


@baseline(
    "om-lsa",
    "I. Cohen, B. Berdugo, Speech enhancement for non-stationary noise environments, 2001; noise: I. Cohen, "
    "Noise spectrum estimation in adverse environments: IMCRA, 2003",
)
def om_lsa(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Gain G^p G_min^(1 - p) with the log-amplitude gain G, G_min = -25 dB and the speech presence p."""

    def gain(spectrogram: np.ndarray, spectral: Spectral) -> np.ndarray:
        power = floored(np.square(np.abs(spectrogram)))
        noise = imcra(spectral.steady_power(spectrogram), spectral.hop_seconds)
        keep = smoothing(0.92, spectral.hop_seconds, 0.008)
        present, prior = run(power, noise, log_mmse_gain, keep)
        p = conditional_presence(prior, np.minimum(power / noise, 1e4), absence(prior, spectral))
        return present**p * _MIN_GAIN ** (1.0 - p)

    return filtered(noisy, rate, gain)
