"""Oracles: gains computed from the clean speech."""

from __future__ import annotations

import numpy as np

from .base import baseline
from .spectral import Spectral

_TINY = 1e-30


def _wiener_gain(noisy: np.ndarray, rate: int, clean: np.ndarray | None, power: float) -> np.ndarray:
    """(|S|^2 / (|S|^2 + |X - S|^2))^power applied to the mixture (T,)."""
    assert clean is not None  # guaranteed by Baseline.enhance
    spectral = Spectral.for_rate(rate)
    mixture, speech = spectral.analyse(noisy), spectral.analyse(clean)
    s, b = np.square(np.abs(speech)), np.square(np.abs(mixture - speech))
    gain = (s / np.maximum(s + b, _TINY)) ** power
    return spectral.synthesise(gain * mixture, noisy.size)


@baseline("oracle-wiener", "Wiener filter with the true power spectra of speech and noise", oracle=True)
def oracle_wiener(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Wiener gain from the periodograms of speech and noise. Real-valued, hence no upper bound of the SNR."""
    return _wiener_gain(noisy, rate, clean, 1.0)


@baseline(
    "oracle-irm",
    "Y. Wang, A. Narayanan, D. Wang, On training targets for supervised speech separation, 2014",
    oracle=True,
)
def oracle_irm(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Ideal ratio mask with exponent 1/2, the square root of the Wiener gain."""
    return _wiener_gain(noisy, rate, clean, 0.5)
