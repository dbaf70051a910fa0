"""Log-spectral distance and SI-SDR in one band of frequencies, for recordings of more than 16 kHz."""

from __future__ import annotations

import functools

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from .base import CannotScore, Pair, metric
from .ratios import si_sdr
from .segmental import log_spectral_distance

#: Bands in kHz. A band counts as far as the Nyquist frequency of a recording.
BANDS = ((0, 4), (4, 8), (8, 16), (16, 24))

# A band that is narrower than this part of itself has no score.
_LEAST_PART = 0.1
# Silence within a band: -120 dB relative to the whole recording.
_SILENCE = 1e-6


def band_limited(waveform: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """The part of (T,) between ``low`` and ``high`` Hz, cut in the Fourier transform of the whole."""
    size = next_fast_len(waveform.size, real=True)
    spectrum = rfft(waveform, size)
    hertz = np.arange(spectrum.size) * (rate / size)
    spectrum[(hertz < low) | (hertz >= high)] = 0
    return np.asarray(irfft(spectrum, size)[: waveform.size])


def _check(pair: Pair, low: float, high: float) -> None:
    """Raise CannotScore for a recording without the band."""
    if pair.rate / 2 - low < _LEAST_PART * (high - low):
        band = f"{low / 1000:g} to {high / 1000:g} kHz"
        raise CannotScore(f"a recording of {pair.rate} Hz has nothing from {band}")


def band_si_sdr(pair: Pair, low: float, high: float) -> float:
    """SI-SDR in dB of the parts between ``low`` and ``high`` Hz."""
    _check(pair, low, high)
    parts = [band_limited(wave, pair.rate, low, high) for wave in (pair.reference, pair.estimate)]
    if np.linalg.norm(parts[0]) < _SILENCE * np.linalg.norm(pair.reference):
        raise CannotScore(f"the reference is silent from {low / 1000:g} to {high / 1000:g} kHz")
    if np.linalg.norm(parts[1]) < _SILENCE * np.linalg.norm(parts[0]):
        raise CannotScore(f"the estimate is silent from {low / 1000:g} to {high / 1000:g} kHz")
    return si_sdr(Pair(parts[0], parts[1], pair.rate))


def band_lsd(pair: Pair, low: float, high: float) -> float:
    """Log-spectral distance in dB over the bins between ``low`` and ``high`` Hz; floors as of the whole."""
    _check(pair, low, high)
    return log_spectral_distance(pair, low, high)


def _register(low: int, high: int) -> None:
    where = f"limited to {low} to {high} kHz"
    for name, function, source, better in (
        ("si_sdr", band_si_sdr, "J. Le Roux et al., SDR - half-baked or well done?, ICASSP 2019", "higher"),
        ("lsd", band_lsd, "A. H. Gray, J. D. Markel, Distance measures for speech processing, 1976", "lower"),
    ):
        metric(
            f"{name}_{low}_{high}k", "dB", f"{source}; {where}",
            better="lower" if better == "lower" else "higher", listed=False,
        )(functools.partial(function, low=1000.0 * low, high=1000.0 * high))  # fmt: skip


for _low, _high in BANDS:
    _register(_low, _high)
