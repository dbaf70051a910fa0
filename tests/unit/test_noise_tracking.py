"""Noise trackers: unbiased on noise, speed on a step, robustness to speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vae_se.baselines import imcra, minimum_statistics, mmse_tracker
from vae_se.baselines.spectral import Spectral
from vae_se.noise.tracking import smoothing

Tracker = Callable[..., np.ndarray]
TRACKERS = [minimum_statistics, mmse_tracker, imcra]
SPECTRAL = Spectral(512, 128, 16000)
HOP = SPECTRAL.hop_seconds


def db(x: np.ndarray | float) -> np.ndarray:
    return 10 * np.log10(x)


def white(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * 16000))


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("variance", [1e-8, 1.0, 1e8])
def test_level_of_stationary_noise(tracker: Tracker, variance: float) -> None:
    power = variance * SPECTRAL.steady_power(SPECTRAL.analyse(white(4.0)))
    noise = tracker(power, HOP)
    assert noise.shape == power.shape
    assert abs(db(noise[100:].mean() / variance)) < 1.5


def test_minimum_statistics_compensates_the_bias_of_the_minimum() -> None:
    """To 0.15 dB on stationary noise, over 18 s; half of the compensation would be 0.2 dB too little."""
    levels = []
    for seed in range(3):
        power = SPECTRAL.steady_power(SPECTRAL.analyse(white(6.0, seed)))
        levels.append(minimum_statistics(power, HOP)[250:].mean())
    assert abs(db(np.mean(levels))) < 0.15


@pytest.mark.parametrize(("tracker", "seconds"), [(minimum_statistics, 2.2), (mmse_tracker, 1.2), (imcra, 2.6)])
@pytest.mark.parametrize("step_db", [10.0, -10.0])
def test_follows_a_step(tracker: Tracker, seconds: float, step_db: float) -> None:
    wave = white(8.0)
    wave[64000:] *= 10 ** (step_db / 20)
    noise = tracker(SPECTRAL.steady_power(SPECTRAL.analyse(wave)), HOP)
    after = 500 + round(seconds / HOP)
    assert abs(db(noise[after : after + 60].mean()) - step_db) < 2.0


@pytest.mark.parametrize("tracker", TRACKERS)
def test_speech_is_not_taken_for_noise(tracker: Tracker, make_speech) -> None:
    wave = 0.01 * white(4.0) + make_speech(4.0, level=0.2)
    noise = tracker(SPECTRAL.steady_power(SPECTRAL.analyse(wave)), HOP)
    # Above 4 kHz there is almost no voice; below, it is 26 dB above the noise.
    assert abs(db(np.median(noise[100:, 160:]) / 1e-4)) < 6
    assert db(np.median(noise[100:, 5:100]) / 1e-4) < 12


@pytest.mark.parametrize("tracker", TRACKERS)
def test_silence_one_frame_and_holes(tracker: Tracker) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(tracker(np.zeros((40, 9)), HOP)).all()
        assert tracker(np.ones((1, 9)), HOP).shape == (1, 9)
        power = SPECTRAL.steady_power(SPECTRAL.analyse(white(1.0)))
        power[30:60] = 0.0
        noise = tracker(power, HOP)
    assert np.isfinite(noise).all()
    assert (noise > 0).all()


@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_input_is_left_alone(tracker: Tracker) -> None:
    power = SPECTRAL.steady_power(SPECTRAL.analyse(white(0.5)))
    before = power.copy()
    tracker(power, HOP)
    assert np.array_equal(power, before)


def test_smoothing_keeps_the_time_constant() -> None:
    assert smoothing(0.8, 0.008, 0.016) ** 2 == pytest.approx(0.8)
    assert smoothing(0.8, 0.016, 0.016) == 0.8


def test_mmse_tracker_from_a_known_start() -> None:
    power = SPECTRAL.steady_power(SPECTRAL.analyse(white(0.3)))
    noise = mmse_tracker(power, HOP, start=np.ones(257))
    assert abs(db(noise.mean())) < 2.0


@pytest.mark.parametrize("frame", [12, 60])
def test_imcra_estimates_the_noise_of_a_frame_from_the_frames_before_it(frame: int) -> None:
    """Cohen (2003) averages up to frame n - 1; the first ten frames initialise the estimate."""
    power = SPECTRAL.steady_power(SPECTRAL.analyse(white(1.0)))
    other = power.copy()
    other[frame] *= 1.5
    differs = (imcra(power, HOP) != imcra(other, HOP)).any(axis=1)
    assert not differs[: frame + 1].any()
    assert differs[frame + 1]
