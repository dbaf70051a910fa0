"""Posterior draws of the speech: their mean, their spread, and what selects them."""

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import UsageError

QUICK = {"inference__iterations": 3, "inference__averaging": 2, "device": "cpu"}
DRAWS = 40
SECONDS = 1.0


@pytest.fixture(scope="module")
def enhancer(tiny_prior):
    return Enhancer.from_pretrained(tiny_prior, **QUICK)


@pytest.fixture(scope="module")
def drawn(enhancer):
    """Estimate, draws (D, T) and Info of one sound."""
    speech, info = enhancer.enhance(noisy_like(SECONDS), 16000, return_info=True, draws=DRAWS)
    return speech, np.stack(info.draws), info


def test_the_mean_of_the_draws_approaches_the_estimate(drawn):
    speech, draws, _ = drawn
    spread = np.mean((draws - speech) ** 2)
    assert np.mean((draws.mean(0) - speech) ** 2) == pytest.approx(spread / DRAWS, rel=0.15)
    assert np.mean((draws[:10].mean(0) - speech) ** 2) == pytest.approx(spread / 10, rel=0.25)


def test_the_spread_of_the_draws_is_the_reported_deviation(enhancer, drawn):
    speech, draws, info = drawn
    stft = enhancer.signal.stft
    errors = stft.analyse(torch.from_numpy(draws - speech).float()).abs().square().mean(0)
    reported = info.uncertainty[0].square()
    inside = slice(4, -4)  # at the ends the frames reach beyond the recording
    assert (errors[inside].sum() / reported[inside].sum()).item() == pytest.approx(1, abs=0.15)
    # The window smooths the deviation over neighbouring bins and frames.
    ratio = (errors[inside] / reported[inside]).log()
    assert abs(ratio.median().item()) < 0.25
    assert ratio.abs().quantile(0.8).item() < 1.0


def test_draws_are_plausible_waveforms_and_differ(drawn):
    _, draws, _ = drawn
    errors = draws - draws.mean(0)
    correlation = np.corrcoef(errors[:6])
    assert np.abs(correlation - np.eye(6)).max() < 0.35


def test_sample_gives_the_same_draws_and_any_number_starts_alike(enhancer, drawn):
    first, second = enhancer.sample(noisy_like(SECONDS), 16000, draws=2)
    np.testing.assert_array_equal(first, drawn[1][0])
    np.testing.assert_array_equal(second, drawn[1][1])


def test_seed_and_name_select_the_draws(drawn, tiny_prior):
    sound = noisy_like(SECONDS)
    other = Enhancer.from_pretrained(tiny_prior, seed=1, **QUICK)
    assert not np.array_equal(other.sample(sound, 16000, draws=1)[0], drawn[1][0])
    named = other.sample(sound, 16000, draws=1, name="b")[0]
    assert not np.array_equal(named, other.sample(sound, 16000, draws=1)[0])


def test_type_shape_rate_and_silent_channels(enhancer):
    sound = torch.from_numpy(np.stack([noisy_like(0.4, 44100), np.zeros(17640)])).float()
    draws = enhancer.sample(sound, 44100, draws=2)
    assert all(isinstance(one, torch.Tensor) and one.shape == sound.shape for one in draws)
    assert all(one.dtype == sound.dtype and torch.isfinite(one).all() for one in draws)
    assert not any(one[1].any() for one in draws)
    assert not torch.equal(draws[0][0], draws[1][0])


def test_draws_leave_the_estimate_alone_and_a_batch_draws_as_single_files(enhancer):
    sounds = [noisy_like(0.5, seed=k) for k in (1, 2)]
    speech, infos = enhancer.enhance_batch(sounds, 16000, names=["a", "b"], return_info=True, draws=1)
    alone, info = enhancer.enhance(sounds[1], 16000, name="b", return_info=True, draws=1)
    np.testing.assert_allclose(speech[1], alone, atol=1e-6)
    np.testing.assert_allclose(infos[1].draws[0], info.draws[0], atol=1e-5)
    np.testing.assert_array_equal(enhancer.enhance(sounds[1], 16000, name="b"), alone)


def test_what_cannot_be_drawn_is_refused(enhancer):
    with pytest.raises(UsageError, match="0 or more"):
        enhancer.sample(noisy_like(0.2), 16000, draws=-1)
    baseline = Enhancer.from_pretrained(method="log-mmse")
    with pytest.raises(UsageError, match="no posterior"):
        baseline.sample(noisy_like(0.2), 16000)
