"""Frame-by-frame distances: segmental SNR and log-spectral distance."""

from __future__ import annotations

import numpy as np
from scipy.fft import rfft

from .base import Pair, frames, metric

# Frames of Hu and Loizou: 30 ms with an overlap of three quarters.
FRAME_SECONDS = 0.03
_SNR_RANGE_DB = (-10.0, 35.0)

_LSD_FRAME_SECONDS = 0.032
# Floor of the power spectra relative to the reference's maximum. Lower values are silence, whose logarithms
# would dominate the distance.
_LSD_FLOOR = 1e-8

EPS = float(np.finfo(np.float64).eps)


def loizou_frames(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Hann-windowed frames (N, W) of (T,): 30 ms long, a quarter of that apart.

    As in Loizou's programs, N is (T - W) / hop rounded down, which omits the last whole frame.
    """
    length = round(FRAME_SECONDS * rate)
    hop = length // 4
    count = max(1, int(waveform.size / hop - length / hop))
    taper = 0.5 * (1.0 - np.cos(2.0 * np.pi * np.arange(1, length + 1) / (length + 1)))
    return frames(waveform, length, hop, count) * taper


def segmental_snr(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean over frames of the SNR in dB, limited to -10..35 dB in each frame."""
    signal = np.sum(np.square(loizou_frames(reference, rate)), axis=1)
    error = np.sum(np.square(loizou_frames(reference - estimate, rate)), axis=1)
    snr = 10.0 * np.log10(signal / (error + EPS) + EPS)
    return float(np.mean(np.clip(snr, *_SNR_RANGE_DB)))


@metric(
    "seg_snr",
    "dB",
    "J. H. L. Hansen, B. L. Pellom, An effective quality evaluation protocol for speech enhancement "
    "algorithms, ICSLP 1998; frames as in Hu and Loizou 2008",
)
def seg_snr(pair: Pair) -> float:
    """Segmental signal-to-noise ratio in dB over all frames, silent ones included; not scale-invariant."""
    return segmental_snr(pair.reference, pair.estimate, pair.rate)


@metric(
    "lsd",
    "dB",
    "A. H. Gray, J. D. Markel, Distance measures for speech processing, 1976, the L2 norm of log spectra",
    better="lower",
)
def lsd(pair: Pair) -> float:
    """Log-spectral distance in dB: root mean square over bins, then mean over frames.

    Hann frames of 32 ms with an overlap of one half; both power spectra have a floor 80 dB below the
    reference's maximum.
    """
    return log_spectral_distance(pair, 0.0, pair.rate)


def log_spectral_distance(pair: Pair, low: float, high: float) -> float:
    """:func:`lsd` over the bins from ``low`` to below ``high`` Hz, with the floor of the whole spectrum."""
    length = round(_LSD_FRAME_SECONDS * pair.rate)
    taper = np.hanning(length + 2)[1:-1]
    power = [
        np.square(np.abs(rfft(frames(x, length, length // 2) * taper, axis=1)))
        for x in (pair.reference, pair.estimate)
    ]
    floor = _LSD_FLOOR * float(power[0].max())
    hertz = np.arange(length // 2 + 1) * (pair.rate / length)
    inside = (hertz >= low) & (hertz < high)
    if not inside.all():
        power = [part[:, inside] for part in power]
    difference = 10.0 * np.log10(np.maximum(power[0], floor) / np.maximum(power[1], floor))
    return float(np.mean(np.sqrt(np.mean(np.square(difference), axis=1))))
