"""LLR and WSS against plain loops over frames, bands and taps, straight from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz, toeplitz

from vae_se.metrics.llr import log_likelihood_ratio
from vae_se.metrics.wss import _CENTRES, _WIDTHS, weighted_spectral_slope

RATE = 16000


def slow_frames(waveform: np.ndarray) -> list[np.ndarray]:
    length, hop = 480, 120
    count = int(len(waveform) / hop - length / hop)
    taper = [0.5 * (1 - math.cos(2 * math.pi * (i + 1) / (length + 1))) for i in range(length)]
    return [waveform[n * hop : n * hop + length] * taper for n in range(count)]


def slow_llr(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    out = []
    for s, y in zip(slow_frames(reference), slow_frames(estimate), strict=True):
        lags = [[float(np.dot(x[k:], x[: len(x) - k])) for k in range(17)] for x in (s, y)]
        a_s, a_y = (np.concatenate([[1.0], -solve_toeplitz(r[:16], r[1:])]) for r in lags)
        matrix = toeplitz(lags[0])
        out.append(math.log((a_y @ matrix @ a_y) / (a_s @ matrix @ a_s)))
    return out


def slow_levels(frame: np.ndarray) -> list[float]:
    power = np.abs(np.fft.fft(frame, 1024)) ** 2
    levels = []
    for centre, width in zip(_CENTRES, _WIDTHS, strict=True):
        energy = 0.0
        for j in range(512):
            distance = (j - math.floor(centre / 8000 * 512)) / (width / 8000 * 512)
            share = math.exp(-11 * distance**2 + math.log(70 / width))
            if share > math.exp(-30 / (2 * 2.303)):
                energy += share * power[j]
        levels.append(10 * math.log10(max(energy, 1e-10)))
    return levels


def slow_weights(levels: list[float]) -> list[float]:
    slopes = [levels[i + 1] - levels[i] for i in range(24)]
    weights = []
    for i in range(24):
        n = i
        if slopes[i] > 0:
            while n < 24 and slopes[n] > 0:
                n += 1
            peak = levels[n - 1]
        else:
            while n >= 0 and slopes[n] <= 0:
                n -= 1
            peak = levels[n + 1]
        weights.append(20 / (20 + max(levels) - levels[i]) * (1 / (1 + peak - levels[i])))
    return weights


def slow_wss(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    out = []
    for s, y in zip(slow_frames(reference), slow_frames(estimate), strict=True):
        a, b = slow_levels(s), slow_levels(y)
        weights = [(p + q) / 2 for p, q in zip(slow_weights(a), slow_weights(b), strict=True)]
        squares = [((a[i + 1] - a[i]) - (b[i + 1] - b[i])) ** 2 for i in range(24)]
        out.append(sum(w * d for w, d in zip(weights, squares, strict=True)) / sum(weights))
    return out


@pytest.fixture(scope="module")
def pair(make_speech) -> tuple[np.ndarray, np.ndarray]:
    speech = make_speech(0.2)
    return speech, speech + 0.02 * np.random.default_rng(0).standard_normal(speech.size)


def test_llr(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(log_likelihood_ratio(*pair, RATE), slow_llr(*pair), rtol=1e-6, atol=1e-8)


def test_wss(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(weighted_spectral_slope(*pair, RATE), slow_wss(*pair), rtol=1e-9)


def test_both_vanish_for_a_file_with_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    speech = pair[0]
    np.testing.assert_allclose(log_likelihood_ratio(speech, 3 * speech, RATE), 0, atol=1e-9)
    np.testing.assert_allclose(weighted_spectral_slope(speech, 3 * speech, RATE), 0, atol=1e-12)
