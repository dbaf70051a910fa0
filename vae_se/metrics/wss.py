"""Weighted spectral slope: distance between the slopes of two spectra from band to band."""

from __future__ import annotations

import numpy as np
from scipy.fft import rfft

from .segmental import loizou_frames

# Klatt's critical bands: centre frequencies and bandwidths in Hz.
_CENTRES = np.array([
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38,
    1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
])  # fmt: skip
_WIDTHS = np.array([
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914,
    140.423, 153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
])  # fmt: skip
_FILTER_CUTOFF = np.exp(-30.0 / (2.0 * 2.303))  # filter responses below -30 dB are set to 0
_ENERGY_FLOOR = 1e-10
_GLOBAL_PEAK_DB = 20.0  # K_max: decay of the weight with the distance below the strongest band
_LOCAL_PEAK_DB = 1.0  # K_locmax: decay with the distance below the nearest peak


def _filters(rate: int, size: int) -> np.ndarray:
    """Gaussian-shaped band filters (25, size/2) on the bins of an FFT of ``size``."""
    half = size // 2
    centre = np.floor(_CENTRES / (rate / 2) * half)[:, None]
    width = (_WIDTHS / (rate / 2) * half)[:, None]
    response = np.exp(-11.0 * ((np.arange(half) - centre) / width) ** 2) * (_WIDTHS[0] / _WIDTHS)[:, None]
    return np.where(response > _FILTER_CUTOFF, response, 0.0)


def _band_levels(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Energy in dB (N, 25) of each frame and band of a waveform (T,)."""
    windowed = loizou_frames(waveform, rate)
    size = 2 ** int(np.ceil(np.log2(2 * windowed.shape[1])))
    power = np.square(np.abs(rfft(windowed, size, axis=1)))[:, : size // 2]
    return 10.0 * np.log10(np.maximum(power @ _filters(rate, size).T, _ENERGY_FLOOR))


def _nearest_peak(level: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Level in dB (N, 24) of the nearest spectral peak of each band, from levels (N, 25) and slopes (N, 24).

    The peak is searched to the right where the slope is positive and to the left otherwise. As in the programs
    behind the published numbers, the search to the right stops one band before the peak.
    """
    count, bands = slope.shape
    right = np.full((count, bands), bands)
    for i in range(bands - 2, -1, -1):
        right[:, i] = np.where(slope[:, i + 1] > 0, right[:, i + 1], i + 1)
    left = np.full((count, bands), -1)
    for i in range(1, bands):
        left[:, i] = np.where(slope[:, i - 1] <= 0, left[:, i - 1], i - 1)
    return np.take_along_axis(level, np.where(slope > 0, right - 1, left + 1), axis=1)


def _weights(level: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Klatt's weights (N, 24), which emphasise slopes near spectral peaks."""
    below_top = level.max(axis=1, keepdims=True) - level[:, :-1]
    below_peak = _nearest_peak(level, slope) - level[:, :-1]
    return (_GLOBAL_PEAK_DB / (_GLOBAL_PEAK_DB + below_top)) * (_LOCAL_PEAK_DB / (_LOCAL_PEAK_DB + below_peak))


def weighted_spectral_slope(reference: np.ndarray, estimate: np.ndarray, rate: int) -> np.ndarray:
    """Weighted squared difference (N,) of the slopes between bands, per frame of two waveforms (T,).

    D. H. Klatt, Prediction of perceived phonetic distance from critical-band spectra, ICASSP 1982, with the
    band filters and constants of Hu and Loizou 2008. Frames of 30 ms.
    """
    levels = [_band_levels(x, rate) for x in (reference, estimate)]
    slopes = [np.diff(level, axis=1) for level in levels]
    weight = (_weights(levels[0], slopes[0]) + _weights(levels[1], slopes[1])) / 2
    return np.sum(weight * np.square(slopes[0] - slopes[1]), axis=1) / np.sum(weight, axis=1)
