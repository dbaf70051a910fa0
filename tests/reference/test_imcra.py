"""IMCRA against a slow loop over frames and bins, straight from the paper."""

import math

import numpy as np
from scipy.special import exp1

from vae_se.baselines.imcra import imcra

HOP = 0.008  # the paper's, so that no constant is converted


def by_the_paper(power: np.ndarray) -> np.ndarray:
    """Cohen (2003): noise power of each frame from the frames before it; averages start at ten frames."""
    frames, bins = power.shape
    bias, gamma_0, gamma_1, zeta_0, beta = 1.66, 4.6, 3.0, 1.67, 1.47
    alpha_s, alpha_d, alpha = 0.9, 0.85, 0.92
    parts, part = 8, 15
    b = (0.25, 0.5, 0.25)

    def around(values, f):
        return [values[min(max(f + i, 0), bins - 1)] for i in (-1, 0, 1)]

    first = power[:10].mean(axis=0)
    average, noise, before = first.copy(), first.copy(), np.zeros(bins)
    s = np.array([sum(w * v for w, v in zip(b, around(first, f), strict=True)) for f in range(bins)])
    s_absent = s.copy()
    stores = [[[s[f]] * parts for f in range(bins)] for _ in range(2)]  # minima of parts, of both rounds
    current = [s.copy(), s.copy()]
    lowest = [s.copy(), s.copy()]
    out = np.empty_like(power)

    def track(which, f, value, n):
        lowest[which][f] = min(lowest[which][f], value)
        current[which][f] = min(current[which][f], value)
        if n % part == part - 1:
            stores[which][f] = [current[which][f], *stores[which][f][:-1]]
            lowest[which][f] = min(stores[which][f])
            current[which][f] = value
        return lowest[which][f]

    for n in range(frames):
        y = power[n]
        out[n] = noise
        smoothed = [sum(w * v for w, v in zip(b, around(y, f), strict=True)) for f in range(bins)]
        speech_free = [False] * bins
        for f in range(bins):
            s[f] = alpha_s * s[f] + (1 - alpha_s) * smoothed[f]
            least = track(0, f, s[f], n)
            speech_free[f] = y[f] / (bias * least) < gamma_0 and s[f] / (bias * least) < zeta_0
        for f in range(bins):
            weights = [w * i for w, i in zip(b, around(speech_free, f), strict=True)]
            if sum(weights) > 0:
                local = sum(w * v for w, v in zip(weights, around(y, f), strict=True)) / sum(weights)
            else:
                local = s_absent[f]
            s_absent[f] = alpha_s * s_absent[f] + (1 - alpha_s) * local
            least = track(1, f, s_absent[f], n)
            gamma_min, zeta = y[f] / (bias * least), s[f] / (bias * least)
            if gamma_min <= 1 and zeta < zeta_0:
                q = 1.0
            elif gamma_min < gamma_1 and zeta < zeta_0:
                q = (gamma_1 - gamma_min) / (gamma_1 - 1)
            else:
                q = 0.0
            gamma = y[f] / noise[f]
            xi = max(alpha * before[f] + (1 - alpha) * max(gamma - 1, 0), 10**-2.5)
            v = gamma * xi / (1 + xi)
            p = 0.0 if q == 1 else 1 / (1 + q / (1 - q) * (1 + xi) * math.exp(-v))
            gain = min(xi / (1 + xi) * math.exp(0.5 * exp1(max(v, 1e-10))), 1)
            before[f] = gain**2 * gamma
            keep = alpha_d + (1 - alpha_d) * p
            average[f] = keep * average[f] + (1 - keep) * y[f]
        noise = beta * average
    return out


def test_equals_the_loop() -> None:
    """In noise whose level rises, with bursts of speech in some bins."""
    rng = np.random.default_rng(0)
    power = 1e-6 * rng.exponential(size=(220, 12)) * np.linspace(1, 3, 220)[:, None]
    power[60:90, 2:7] *= 60
    power[120:126, 5:10] *= 400
    power[180:] *= 5
    np.testing.assert_allclose(imcra(power, HOP), by_the_paper(power), rtol=1e-3)
