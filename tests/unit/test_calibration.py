"""The calibrated variance: what it means, its intervals, and that the estimate does not depend on it."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.audio.level import active_rms
from vae_se.config import Config
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.residual_noise import doubt
from vae_se.enhancement.results import TRUSTED_DB
from vae_se.errors import UsageError
from vae_se.inference.calibration import UNCALIBRATED, Calibration
from vae_se.inference.diagnostics import Diagnostics, summarise
from vae_se.stft import STFT

QUICK = {"inference__iterations": 3, "inference__averaging": 2, "device": "cpu"}
FILTERS = torch.tensor([1e-4, 0.02, 0.3, 0.5, 0.9, 0.999], dtype=torch.float64)


def errors(calibration: Calibration, filters: torch.Tensor, count: int, seed: int = 0) -> np.ndarray:
    """Draws (count, F) of |s - E[s | x]|^2 by definition, for a variance of 1 before calibration."""
    rng, m = np.random.default_rng(seed), filters.numpy()
    deviation = calibration.deviation * (1 - m) ** calibration.exponent
    odds = m / (1 - m) * np.exp(deviation * rng.standard_normal((count, m.size)))
    other = odds / (1 + odds)
    within = other * (1 - other) / (m * (1 - m)) * rng.exponential(size=(count, m.size))
    return within + (other - m) ** 2 / (m * (1 - m)) * rng.exponential(size=(count, m.size))


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_the_variance_is_that_of_draws_of_the_model(exponent):
    calibration = Calibration(1.5, exponent)
    variance = calibration.variance(torch.ones_like(FILTERS), FILTERS)
    np.testing.assert_allclose(variance, errors(calibration, FILTERS, 100_000).mean(0), rtol=0.08)


def test_the_variance_grows_where_the_filter_removes_a_bin():
    factor = Calibration(2.0).variance(torch.ones_like(FILTERS), FILTERS)
    assert factor[0] > factor[1] > factor[2]
    assert factor[0] > 3
    assert factor[-1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_intervals_hold_as_much_as_they_say(level, deviation):
    calibration, rng = Calibration(deviation), np.random.default_rng(1)
    log_odds = torch.logit(FILTERS).numpy()
    radius = calibration.radius(level, FILTERS).numpy()
    variance = calibration.variance(torch.ones_like(FILTERS), FILTERS).numpy()
    scale = calibration.scales(log_odds, rng.standard_normal(4000)).T
    error = scale * rng.exponential(size=scale.shape)
    np.testing.assert_allclose((error <= radius**2 * variance).mean(0), level, atol=0.025)


def test_without_calibration_nothing_changes():
    variance = torch.tensor([1.0, 3.0])
    assert torch.equal(UNCALIBRATED.variance(variance, torch.tensor([0.1, 0.9])), variance)
    np.testing.assert_allclose(UNCALIBRATED.radius(0.8, FILTERS), np.sqrt(-np.log(0.2)), rtol=1e-6)


def test_extreme_filters_stay_finite():
    filters = torch.tensor([0.0, 1e-30, 1 - 6e-8, 1.0])
    calibration = Calibration.fitted()
    assert calibration.deviation > 0
    assert torch.isfinite(calibration.variance(torch.ones(4), filters)).all()
    assert torch.isfinite(calibration.radius(0.8, filters)).all()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_constants_are_refused(value):
    with pytest.raises(UsageError, match=r"deviation.*must be 0 or more"):
        Calibration(value)
    with pytest.raises(UsageError, match=r"exponent.*must be 0 or more"):
        Calibration(1.0, value)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.2])
def test_an_impossible_level_is_refused(level):
    with pytest.raises(UsageError, match="between 0 and 1"):
        Calibration(1.0).radius(level, FILTERS)


@pytest.fixture(scope="module")
def results(tiny_prior):
    """By whether it is calibrated: speech and Info, without the noise that doubt would keep by the estimate."""
    sound, found = noisy_like(0.6), {}
    for calibrate in (True, False):
        enhancer = Enhancer.from_pretrained(
            tiny_prior, inference__calibrate=calibrate, output__doubt=0.0, **QUICK
        )
        found[calibrate] = enhancer.enhance(sound, 16000, return_info=True)
    return found


def test_the_setting_changes_the_uncertainty_and_not_the_speech(results):
    (speech, info), (same, plain) = results[True], results[False]
    assert Config().inference.calibrate
    np.testing.assert_array_equal(speech, same)
    assert torch.equal(info.channels[0].wiener, plain.channels[0].wiener)
    expected = Calibration.fitted().variance(plain.uncertainty[0].square(), plain.channels[0].wiener).sqrt()
    torch.testing.assert_close(info.uncertainty[0], expected)
    wide, narrow = (one.channels[0].radius(0.8).mean() for one in (info, plain))
    assert wide > narrow > 0


def test_doubt_keeps_a_part_of_the_noise_by_the_estimate_and_the_filter(tiny_prior):
    """An untrained prior doubts: its estimate is low, and its filter is nearly the same everywhere."""
    sound, settings = noisy_like(0.6), {"output__floor_db": np.inf, **QUICK}
    (plain, info), (doubtful, same) = (
        Enhancer.from_pretrained(tiny_prior, output__doubt=most, **settings).enhance(
            sound, 16000, return_info=True
        )
        for most in (0.0, 0.8)
    )
    np.testing.assert_array_equal(same.noise, info.noise)
    wiener = info.channels[0].wiener.double()
    mean = wiener.mean()
    found = Diagnostics(
        speech_energy=10 ** (info.snr_db / 10), error_energy=1.0, filter_sum=float(wiener.sum()),
        filter_square_sum=float(wiener.square().sum()), filter_bins=wiener.numel(),
    )  # fmt: skip
    assert found.selectivity == pytest.approx(float(wiener.var(correction=0) / (mean * (1 - mean))), rel=1e-6)
    level = active_rms(plain, 16000) / np.sqrt(np.mean(np.square(info.noise)))
    gain = 0.8 * doubt(found, 20 * np.log10(level))
    assert 0.1 < gain <= 0.8
    np.testing.assert_allclose(doubtful, plain + gain * info.noise, atol=1e-6)


def test_the_estimated_snr_is_mean_power_over_variance(results):
    power = STFT().analyse(torch.from_numpy(noisy_like(0.6)).float()).abs().square()
    for _, info in results.values():
        found = info.channels[0]
        assert info.segment_snr_db == [info.snr_db]
        ratio = (found.wiener.square() * power).sum() / found.uncertainty.square().sum()
        assert info.snr_db == pytest.approx(10 * torch.log10(ratio).item(), abs=0.05)
        assert info.trusted is (info.snr_db >= TRUSTED_DB)


def test_the_estimated_snr_of_a_file_adds_the_energies_of_its_segments():
    parts = [Diagnostics(frames=2, speech_energy=8.0, error_energy=1.0)]
    parts.append(dataclasses.replace(parts[0], speech_energy=2.0, error_energy=9.0))
    assert summarise(parts).snr_db == pytest.approx(0.0)
    assert parts[0].snr_db == pytest.approx(9.03, abs=0.01)
    assert Diagnostics().snr_db is None


def test_silence_and_baselines_have_no_estimated_snr(tiny_prior):
    _, info = Enhancer.from_pretrained(tiny_prior, **QUICK).enhance(np.zeros(2000), 16000, return_info=True)
    assert info.snr_db is info.trusted is None
    _, info = Enhancer.from_pretrained(method="log-mmse").enhance(noisy_like(0.3), 16000, return_info=True)
    assert info.snr_db is info.trusted is None
