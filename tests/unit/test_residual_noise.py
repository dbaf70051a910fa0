"""How much of the noise stays in."""

import math

import numpy as np
import pytest

from tests.conftest import speech_like
from vae_se.audio.level import active_rms
from vae_se.config import OutputConfig
from vae_se.enhancement.residual_noise import Block, add_residual_noise, residual_gains
from vae_se.inference.diagnostics import Diagnostics

RATE = 16000


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(
    ("snr", "floor", "expected"), [(10, 40, -30), (25, 40, -15), (45, 40, 0), (-5, 40, -45)]
)
def test_noise_ends_up_at_the_floor(snr, floor, expected, scale):
    speech = scale * speech_like(2.0)
    noise = np.random.default_rng(0).standard_normal(speech.size)
    noise *= active_rms(speech, RATE) / np.sqrt(np.mean(noise**2)) * 10 ** (-snr / 20)
    noisy = speech + noise
    left = residual_gains(OutputConfig(floor_db=floor), [Block(noisy[None], speech[None])], RATE)
    assert left.low.shape == (1, 1)
    assert left.high is None
    assert 20 * math.log10(left.low[0, 0]) == pytest.approx(expected, abs=0.1)


def test_channels_are_apart_and_the_most_of_all_settings_counts():
    speech = np.stack([speech_like(1.0), np.zeros(RATE)])
    noise = np.stack([1e-6 * np.ones(RATE), np.ones(RATE)])
    output = OutputConfig(floor_db=40, atten_lim_db=20)
    blocks = [Block(speech + noise, speech)]
    np.testing.assert_allclose(residual_gains(output, blocks, RATE).low, [[1.0], [0.1]])
    np.testing.assert_allclose(residual_gains(OutputConfig(dry=0.3, floor_db=math.inf), blocks, RATE).low, 0.3)
    assert np.isfinite(residual_gains(output, [Block(speech, speech)], RATE).low).all()


def test_levels_do_not_depend_on_the_blocks_and_no_noise_means_no_gain():
    speech, rng = speech_like(1.0)[None], np.random.default_rng(0)
    noisy = speech + 0.01 * rng.standard_normal(speech.shape)
    whole = residual_gains(OutputConfig(), [Block(noisy, speech)], RATE)
    blocks = [Block(noisy[:, s : s + 700], speech[:, s : s + 700]) for s in range(0, RATE, 700)]
    np.testing.assert_array_equal(residual_gains(OutputConfig(), blocks, RATE).low, whole.low)
    assert residual_gains(OutputConfig(floor_db=math.inf), blocks, RATE) is None
    (heard, noise), *_ = add_residual_noise(blocks, None)
    assert heard is blocks[0][1]
    np.testing.assert_array_equal(noise, noisy[:, :700] - speech[:, :700])


def test_each_band_has_a_gain_of_its_own():
    """The noise above the prior's band is measured against the speech there."""
    speech, rng = speech_like(1.0)[None], np.random.default_rng(0)
    high = 0.01 * speech_like(1.0, seed=1)[None]
    level = active_rms(high[0], RATE)
    noises = [level * 10 ** (-db / 20) * rng.standard_normal(speech.shape) for db in (-20, 30)]
    block = Block(speech + high + sum(noises), speech + high, high, noises[1])
    gains = residual_gains(OutputConfig(floor_db=40), [block], RATE)
    assert 20 * math.log10(gains.high[0, 0]) == pytest.approx(-10, abs=0.1)
    assert gains.low[0, 0] == pytest.approx(
        10**-2 * active_rms(block.speech[0], RATE) / np.sqrt(np.mean(sum(noises) ** 2)), rel=1e-6
    )
    ((heard, noise),) = add_residual_noise([block], gains)
    np.testing.assert_allclose(
        heard, speech + high + gains.low * noises[0] + gains.high * noises[1], atol=1e-12
    )
    np.testing.assert_allclose(noise, sum(noises), atol=1e-12)


def diagnostics(estimate, selectivity):
    """Of a recording with an estimate of the SI-SDR in dB, and a filter of mean 0.2."""
    if estimate is None:
        return Diagnostics()
    square = 0.2**2 + selectivity * 0.2 * 0.8
    found = Diagnostics(
        speech_energy=10 ** (estimate / 10),
        error_energy=1.0,
        filter_sum=20.0,
        filter_square_sum=100 * square,
        filter_bins=100,
    )
    assert found.selectivity == pytest.approx(selectivity)
    return found


@pytest.mark.parametrize(
    ("estimate", "selectivity", "speech_db", "expected"),
    [
        (None, 0.1, -8, 0),
        (5.0, 0.1, -8, 0),
        (0.0, 0.1, -8, 0),
        (-2.0, 0.1, -8, 0.25),
        (-9.0, 0.1, -8, 0.5),
        (-9.0, 0.185, -8, 0.25),
        (-9.0, 0.3, -8, 0),
        (-2.0, 0.1, -14, 0.125),
        (-9.0, 0.1, -25, 0),
    ],
)
def test_noise_stays_where_the_model_doubts_its_result(estimate, selectivity, speech_db, expected):
    """Not where it has no estimate or a good one, a filter that is selective, or hardly any speech."""
    found = diagnostics(estimate, selectivity)
    speech = speech_like(2.0)
    noise = np.random.default_rng(0).standard_normal(speech.size)
    noise *= active_rms(speech, RATE) / np.sqrt(np.mean(noise**2)) * 10 ** (-speech_db / 20)
    blocks = [Block((speech + noise)[None], speech[None])]
    kept = residual_gains(OutputConfig(floor_db=math.inf, doubt=0.5), blocks, RATE, found)
    if estimate in (None, 5.0, 0.0) or selectivity == 0.3:
        assert kept is None
    else:
        assert kept.low[0, 0] == pytest.approx(expected, abs=0.003)
    certain = residual_gains(OutputConfig(floor_db=math.inf, doubt=0), blocks, RATE, found)
    assert certain is None
    floored = residual_gains(OutputConfig(floor_db=42, doubt=0.5), blocks, RATE, found)
    assert floored.low[0, 0] == pytest.approx(max(expected, 10 ** ((speech_db - 42) / 20)), abs=0.003)
