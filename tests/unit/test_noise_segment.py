"""Noise learnt from a segment of the recording."""

import numpy as np
import pytest
import torch

from tests.cli.test_noise import RATE, peaky, si_sdr
from vae_se import Enhancer
from vae_se.errors import AudioError, UsageError
from vae_se.noise.noise_segment import learn
from vae_se.noise.time_range import parse_time_range
from vae_se.priors import SignalSpec

SIGNAL = SignalSpec()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00-0:02.5", (0, 2.5)),
        ("1-2", (1, 2)),
        ("0.5 - 1:00", (0.5, 60)),
        ("59:59-1:00:01.25", (3599, 3601.25)),
    ],
)
def test_times(text, seconds):
    assert parse_time_range(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "1-", "a-b", "2-1", "1-1", "1:2:3:4-5", "-1-2"])
def test_invalid_times(text):
    with pytest.raises(UsageError):
        parse_time_range(text)


def power_of(wave):
    """Power of frames of a recording, in the form that `learn` expects."""
    power = SIGNAL.stft.analyse(torch.from_numpy(wave)).abs().square()
    return lambda first, last: power[first:last]


def test_only_frames_inside_the_segment_are_used():
    """A tone outside the segment does not change the dictionary, exact to the frame."""
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal(3 * RATE)
    loud = samples.copy()
    loud[: RATE // 2] += np.sin(np.arange(RATE // 2))
    loud[round(1.7 * RATE) :] += 3.0
    found = []
    for wave in (samples, loud):
        found.append(learn("0.5-1.7", power_of(wave), wave.size, SIGNAL).atoms)
    torch.testing.assert_close(*found)
    assert found[0].shape == (7, 513)  # 72 frames, ten for each atom


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("0-4", UsageError, "leaves the recording"),
        ("5-6", UsageError, "leaves the recording"),
        ("1-1.1", UsageError, "too short"),
        ("2-3", AudioError, "is silent"),
    ],
)
def test_segments_without_noise(text, kind, words):
    wave = np.random.default_rng(0).standard_normal(3 * RATE)
    wave[2 * RATE - 1024 :] = 0
    with pytest.raises(kind, match=words):
        learn(text, power_of(wave), wave.size, SIGNAL)


def test_it_knows_the_noise_and_each_recording_has_its_own():
    """Two recordings with different noises: together as one by one, and better than without the segment."""
    from tests.conftest import speech_like

    clean = np.concatenate([np.zeros(RATE), speech_like(2.0, seed=1)])
    noises = [peaky(3.0, 1), 0.05 * np.random.default_rng(4).standard_normal(clean.size)]
    noisy = [clean + noise for noise in noises]
    settings = {"noise__name": "dictionary", "noise__noise_segment": "0-1", "inference__iterations": 15}
    enhancer = Enhancer.from_pretrained(device="cpu", **settings)
    together = enhancer.enhance_batch(noisy, RATE)
    alone = [enhancer.enhance(wave, RATE) for wave in noisy]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    plain = Enhancer.from_pretrained(device="cpu", inference__iterations=15).enhance(noisy[0], RATE)
    assert si_sdr(clean, alone[0]) > si_sdr(clean, plain) + 0.5
