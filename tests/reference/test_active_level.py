"""The active level against ITU-T P.56 (2011), method B, written sample by sample from its text."""

import math

import numpy as np
import pytest

from tests.conftest import speech_like
from vae_se.audio.level import active_rms

RATE = 2000  # low, so that the loop over samples is fast; all times of P.56 are in seconds
MARGIN = 15.9


def p56(samples, rate, thresholds):
    """Active level in dB; ``thresholds`` increase. -inf for silence."""
    g = math.exp(-1 / (rate * 0.03))
    hangover = math.ceil(0.2 * rate)
    active, hung = [0] * len(thresholds), [hangover] * len(thresholds)
    p = q = squares = 0.0
    for x in samples.tolist():
        squares += x * x
        p = g * p + (1 - g) * abs(x)
        q = g * q + (1 - g) * p
        for j, threshold in enumerate(thresholds):
            if q >= threshold:
                active[j] += 1
                hung[j] = 0
            elif hung[j] < hangover:
                active[j] += 1
                hung[j] += 1
    if not squares:
        return -math.inf
    before = None
    for count, threshold in zip(active, thresholds, strict=True):
        if not count:
            break
        level = 10 * math.log10(squares / count)
        margin = level - 20 * math.log10(threshold)
        if margin <= MARGIN and before is not None:
            share = (before[1] - MARGIN) / (before[1] - margin)
            return before[0] + share * (level - before[0])
        before = level, margin
    return before[0]


def envelope_peak(samples, rate):
    g = math.exp(-1 / (rate * 0.03))
    p = q = top = 0.0
    for x in samples.tolist():
        p = g * p + (1 - g) * abs(x)
        q = g * q + (1 - g) * p
        top = max(top, q)
    return top


def talk(seconds, decibels, seed=0):
    """Something like speech whose active level is ``decibels``."""
    sound = speech_like(seconds, RATE, seed)
    return sound * 10 ** (decibels / 20) / active_rms(sound, RATE)


def with_click(sound, at, seconds=0.01, amplitude=1.0):
    sound, start = sound.copy(), round(at * RATE)
    sound[start : start + round(seconds * RATE)] = amplitude
    return sound


def gaps():
    sound = talk(20, -26)
    sound[4 * RATE : 9 * RATE] = 0
    sound[12 * RATE : 13 * RATE] *= 1e-3
    return sound


CASES = {
    "speech": lambda: talk(8, -26),
    "quiet speech": lambda: talk(8, -60),
    "loud speech": lambda: talk(8, -12),
    "speech among silence": lambda: np.pad(talk(4, -26), (6 * RATE, 11 * RATE)),
    "gaps": gaps,
    "steady noise": lambda: 0.05 * np.random.default_rng(0).standard_normal(6 * RATE),
    "a tone": lambda: 0.1 * np.sin(np.arange(5 * RATE)),
    "two talkers": lambda: np.concatenate([talk(10, -20), talk(30, -50, 1)]),
    "a click in the middle": lambda: with_click(talk(60, -45), 30),
    "a click at the start": lambda: with_click(talk(60, -45), 0),
    "a click at the end": lambda: with_click(talk(60, -45), 59.98),
    "a click in quieter speech": lambda: with_click(talk(30, -60), 10),
    "a click in louder speech": lambda: with_click(talk(30, -26), 10),
    "a short click": lambda: with_click(talk(30, -45), 10, 0.001),
    "two clicks": lambda: with_click(with_click(talk(60, -45), 5), 41, 0.02, 0.3),
    "a click in silence": lambda: with_click(np.zeros(10 * RATE), 5),
    "a slammed door": lambda: with_click(talk(60, -45), 20, 0.4, 0.2),
}


@pytest.fixture(params=list(CASES))
def sound(request):
    return CASES[request.param]()


def decibels(sound):
    return 20 * math.log10(active_rms(sound, RATE))


def test_equals_the_recommendation_at_the_same_thresholds(sound):
    thresholds = [envelope_peak(sound, RATE) * 2.0**-k for k in range(17, 0, -1)]
    assert decibels(sound) == pytest.approx(p56(sound, RATE, thresholds), abs=0.01)


def test_agrees_with_the_recommendation_at_its_own_thresholds(sound):
    """P.56 fixes the thresholds relative to full scale; between two of them it interpolates."""
    assert decibels(sound) == pytest.approx(p56(sound, RATE, [2.0**-k for k in range(18, 0, -1)]), abs=0.1)


def test_silence():
    assert active_rms(np.zeros(RATE), RATE) == 0.0
    assert p56(np.zeros(RATE), RATE, [0.5]) == -math.inf


def test_one_click_does_not_become_the_level_of_a_minute_of_speech():
    """The highest thresholds hold the click alone, 15.9 dB below its own level: the wrong crossing."""
    sound = with_click(talk(60, -45), 30)
    assert -38 < decibels(sound) < -34
    thresholds = [envelope_peak(sound, RATE) * 2.0**-k for k in range(17, 0, -1)]
    assert p56(sound, RATE, thresholds) == pytest.approx(decibels(sound), abs=0.01)
