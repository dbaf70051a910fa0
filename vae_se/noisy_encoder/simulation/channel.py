"""What a microphone and a codec do to a mixture: colouration, clipping, band limits, quantisation.

Linear parts (``colour``, ``band_limit``) apply to speech and noise alike, so that the target is the coloured
speech. What is not linear (``clip``, ``quantise``) cannot be shared out; the difference that it makes counts
as noise.
"""

from __future__ import annotations

import math

import numpy as np

from .primitives import chance, log_uniform


def colour(random: np.random.Generator, points: int, rate: int, range_db: float) -> np.ndarray:
    """A smooth random frequency response in dB (points,) from 0 to rate / 2.

    Eight cosines over the mel scale with falling amplitudes, ``range_db`` of standard deviation in all, and a
    high-pass of 6 or 12 dB an octave below 30 to 250 Hz in one of two.
    """
    hertz = np.linspace(0, rate / 2, points)
    mel = np.log1p(hertz / 700)
    order = np.arange(1, 9)
    amplitude = random.standard_normal(8) / order
    amplitude *= range_db * math.sqrt(2) / np.linalg.norm(amplitude)
    gain = amplitude @ np.cos(math.pi * order[:, None] * mel / mel[-1])
    if chance(random, 0.5):
        corner = log_uniform(random, 30, 250)
        gain -= random.choice([6.0, 12.0]) * np.maximum(np.log2(corner / hertz.clip(min=8)), 0)
    return np.asarray(gain)


def band_limit(random: np.random.Generator, points: int, rate: int) -> np.ndarray:
    """A telephone's or codec's band in dB (points,): shelves of -15 to -35 dB below 50 to 350 Hz and above 3.3
    to 7 kHz.

    Shelves and not walls: the prior models 0 to 8 kHz and cannot say that nothing is there.
    """
    hertz = np.linspace(0, rate / 2, points).clip(min=1)
    depth = random.uniform(15, 35)
    low, high = log_uniform(random, 50, 350), log_uniform(random, 3300, 7000)
    loss = 48 * np.maximum(np.log2(low / hertz), 0) + 96 * np.maximum(np.log2(hertz / high), 0)
    return -np.minimum(loss, depth)


def clip(mixture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``mixture`` (samples,) limited to a level that 0.02 to 3 % of its samples exceed; hard, or soft
    (tanh)."""
    limit = float(np.quantile(np.abs(mixture), 1 - log_uniform(random, 2e-4, 3e-2)))
    if limit <= 0:
        return mixture
    if chance(random, 0.3):
        return np.asarray(limit * np.tanh(mixture / limit))
    return np.clip(mixture, -limit, limit)


def quantise(mixture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``mixture`` (samples,) after a mu-law quantiser of 6 to 8 bits (ITU-T G.711 has 8) at its own peak."""
    peak = float(np.abs(mixture).max())
    if peak == 0:
        return mixture
    levels, mu = 2.0 ** random.integers(5, 8), 255.0
    companded = np.sign(mixture) * np.log1p(mu * np.abs(mixture) / peak) / math.log1p(mu)
    coded = np.round(companded * levels) / levels
    return np.asarray(peak * np.sign(coded) * np.expm1(np.abs(coded) * math.log1p(mu)) / mu)
