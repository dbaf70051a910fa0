"""OM-LSA's a priori probability of speech absence, in scenes whose presence is known."""

import math

import numpy as np
import pytest

from vae_se.baselines.om_lsa import absence
from vae_se.baselines.spectral import Spectral

SPECTRAL = Spectral(512, 128, 16000)
BINS = 257


def levels(*parts: tuple[int, float]) -> np.ndarray:
    """A priori SNR (N, F), the same in all bins: so many frames of each value."""
    return np.concatenate([np.full((frames, BINS), value) for frames, value in parts])


def test_between_minus_10_and_minus_5_db_presence_is_linear_in_db() -> None:
    """P_local and P_global are 0 at -10 dB, 1 at -5 dB; P_frame is 1 while the level does not fall."""
    for decibels, expected in ((-11, 0.0), (-9, 0.2), (-7.5, 0.5), (-6, 0.8), (-4, 1.0), (5, 1.0)):
        found = absence(levels((10, 1e-3), (200, 10 ** (decibels / 10))), SPECTRAL)[20:30]
        # The level is an average over time that still rises.
        reached = 10 * math.log10(10 ** (decibels / 10) * (1 - 0.7**10))
        slack = 2 * 0.2 * (decibels - reached) + 1e-6
        assert found[0] == pytest.approx(np.full(BINS, 1 - expected**2), abs=slack + 0.051), decibels


def test_a_band_in_a_frame_without_speech_is_no_speech() -> None:
    """1 kHz wide at -2 dB, which both windows over frequency take for speech; the frame's mean is -11 dB."""
    prior = levels((60, 1e-3))
    prior[20:, 100:132] = 10**-0.2
    assert 10 * math.log10(prior[-1].mean()) < -10
    assert (absence(prior, SPECTRAL) == 0.95).all()
    # As part of a frame of speech, the same band is speech.
    prior[20:, :32] = 10**0.5
    assert absence(prior, SPECTRAL)[-1, 114:118].max() < 0.1


def test_a_frame_in_which_the_level_falls_is_compared_with_the_peak_before() -> None:
    """-7 dB after silence is the onset of speech; after 15 dB it is the end of it."""
    weak = 10**-0.7
    onset = absence(levels((20, 1e-3), (40, weak)), SPECTRAL)[30]
    end = absence(levels((20, 1e-3), (40, 30.0), (60, weak)), SPECTRAL)[90]
    assert onset.max() < 0.75
    assert (end == 0.95).all()
