"""How much of the noise stays in."""

import math

import numpy as np
import pytest

from tests.conftest import speech_like
from vae_se.audio.level import active_rms
from vae_se.config import OutputConfig
from vae_se.enhancement.residual_noise import noise_left

RATE = 16000


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(
    ("snr", "floor", "expected"), [(10, 40, -30), (25, 40, -15), (45, 40, 0), (-5, 40, -45)]
)
def test_noise_ends_up_at_the_floor(snr, floor, expected, scale):
    speech = scale * speech_like(2.0)
    noise = np.random.default_rng(0).standard_normal(speech.size)
    noise *= active_rms(speech, RATE) / np.sqrt(np.mean(noise**2)) * 10 ** (-snr / 20)
    left = noise_left(OutputConfig(floor_db=floor), speech[None], noise[None], RATE)
    assert left.shape == (1, 1)
    assert 20 * math.log10(left[0, 0]) == pytest.approx(expected, abs=0.1)


def test_channels_are_apart_and_the_most_of_all_settings_counts():
    speech = np.stack([speech_like(1.0), np.zeros(RATE)])
    noise = np.stack([1e-6 * np.ones(RATE), np.ones(RATE)])
    output = OutputConfig(floor_db=40, atten_lim_db=20)
    np.testing.assert_allclose(noise_left(output, speech, noise, RATE), [[1.0], [0.1]])
    np.testing.assert_allclose(noise_left(OutputConfig(dry=0.3, floor_db=math.inf), speech, noise, RATE), 0.3)
    assert np.isfinite(noise_left(output, speech, np.zeros_like(noise), RATE)).all()
