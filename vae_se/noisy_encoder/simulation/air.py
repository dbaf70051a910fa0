"""Wind: gusts at a microphone, and whistling air."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from .primitives import band_noise, chance, control, log_uniform, phase_of


def wind(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Wind noise at a microphone: low frequencies, in gusts.

    Turbulence has a spectrum of f^(-5/3) and steeper (-5 to -10 dB an octave) above 20 to 150 Hz (Nemer and
    Leblanc, Single-microphone wind noise reduction by adaptive postfiltering, 2009). The level is log-normal
    (4 to 10 dB) with a time constant of 0.15 to 2.5 s; with stronger wind the spectrum reaches higher: the
    bright part grows with the square of the gust. Foliage adds a hiss of 1 to 6 kHz in one of three.
    """
    gust_db = random.uniform(4, 10) * control(random, samples, rate, log_uniform(random, 0.15, 2.5))
    gust = 10 ** ((gust_db - 0.3 * np.abs(gust_db)) / 20)
    corner = log_uniform(random, 20, 150)
    low = band_noise(random, samples, rate, corner, 7900, -random.uniform(5, 10))
    bright = band_noise(random, samples, rate, 4 * corner, 7900, -random.uniform(4, 7))
    bright *= 10 ** (-random.uniform(10, 25) / 20) * np.std(low) / np.std(bright)
    out = low * gust + bright * gust**2
    if chance(random, 1 / 3):
        leaves = band_noise(random, samples, rate, 1000, 6000, random.uniform(-4, 1))
        out = out + leaves * gust * 10 ** (-random.uniform(5, 25) / 20) * np.std(low) / np.std(leaves)
    return np.asarray(out)


def whistle(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Air that whistles in gaps or pipes, a kettle, squealing brakes: narrow noise whose pitch follows the
    gusts.

    One to three resonances of 250 to 4000 Hz with bandwidths of 5 to 120 Hz; pitch and level move together,
    with a time constant of 0.1 to 2 s and standard deviations of 3 to 25 % and 3 to 9 dB. A baseband noise is
    shifted to the moving frequency, so the bandwidth does not depend on the pitch.
    """
    out = np.zeros(samples)
    for _ in range(int(random.integers(1, 4))):
        course = control(random, samples, rate, log_uniform(random, 0.1, 2.0))
        centre = log_uniform(random, 250, 4000)
        f = np.clip(centre * np.exp(log_uniform(random, 0.03, 0.25) * course), 100, 0.48 * rate)
        pole = np.exp(-np.pi * log_uniform(random, 5, 120) / rate)
        white = random.standard_normal(samples) + 1j * random.standard_normal(samples)
        narrow = lfilter([1 - pole], [1, -pole], white)
        tone = (narrow * np.exp(2j * np.pi * phase_of(f, rate))).real
        out += tone / np.std(tone) * 10 ** ((random.uniform(3, 9) * course - random.uniform(0, 12)) / 20)
    hiss = band_noise(random, samples, rate, 200, 7000, random.uniform(-5, 0))
    return out + 10 ** (-random.uniform(8, 35) / 20) * np.std(out) / np.std(hiss) * hiss
