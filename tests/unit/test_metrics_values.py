"""Metrics against other programs, closed forms and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vae_se.metrics import METRICS, score
from vae_se.metrics.base import Pair
from vae_se.metrics.composite import parts, ratings

RATE = 16000


@pytest.fixture(scope="module")
def speech(make_speech) -> np.ndarray:
    return make_speech(2.0)


def distorted(speech: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    filtered = np.convolve(speech, rng.standard_normal(20) * 0.8 ** np.arange(20))[: speech.size]
    noise = rng.standard_normal(speech.size)
    return filtered + noise * np.sqrt(np.mean(filtered**2)) * 10 ** (-snr_db / 20)


def value(name: str, reference: np.ndarray, estimate: np.ndarray, rate: int = RATE) -> float:
    result = score([name], reference, estimate, rate)[name]
    assert result.reason == ""
    return result.value


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 10.0, 40.0])
@pytest.mark.parametrize("name", ["si_sdr", "sdr"])
def test_agrees_with_fast_bss_eval(speech: np.ndarray, name: str, snr_db: float) -> None:
    other = pytest.importorskip("fast_bss_eval")
    estimate = distorted(speech, snr_db)
    expected = float(getattr(other, name)(speech[None], estimate[None])[0])
    assert value(name, speech, estimate) == pytest.approx(expected, abs=0.01)


def test_sdr_forgives_a_filter_and_si_sdr_does_not(speech: np.ndarray) -> None:
    filtered = np.convolve(speech, [0.0, 0.0, 1.0, -0.5])[: speech.size]
    assert value("sdr", speech, filtered) > 35
    assert value("si_sdr", speech, filtered) < 5


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("name", ["si_sdr", "sdr", "pesq_wb", "stoi", "estoi"])
def test_the_estimates_scale_does_not_matter(speech: np.ndarray, name: str, scale: float) -> None:
    estimate = distorted(speech, 10.0)
    tolerance = 0.02 if name.startswith("pesq") else 1e-6  # PESQ works in float32
    assert value(name, speech, scale * estimate) == pytest.approx(value(name, speech, estimate), abs=tolerance)


def test_the_split_adds_up(speech: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    noise, artefact = 0.03 * rng.standard_normal((2, speech.size))
    names = ["si_sdr", "si_sir", "si_sar"]
    got = score(names, speech, 0.9 * speech + 0.5 * noise + 0.2 * artefact, RATE, noise=noise)
    sdr, sir, sar = (10 ** (-got[name].value / 10) for name in names)
    assert sdr == pytest.approx(sir + sar, rel=1e-9)
    level = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
    assert got["si_sir"].value == pytest.approx(level + 20 * np.log10(0.9 / 0.5), abs=0.3)
    assert got["si_sar"].value == pytest.approx(level + 20 * np.log10(0.9 / 0.2), abs=0.3)


def test_the_noise_may_be_given_by_the_mixture(speech: np.ndarray) -> None:
    noise = 0.01 * np.random.default_rng(2).standard_normal(speech.size)
    estimate = speech + 0.3 * noise
    by_noise = score(["si_sir"], speech, estimate, RATE, noise=noise)
    by_mixture = score(["si_sir"], speech, estimate, RATE, noisy=speech + noise)
    assert by_noise["si_sir"].value == pytest.approx(by_mixture["si_sir"].value, abs=1e-6)


def test_a_file_with_itself(speech: np.ndarray) -> None:
    assert value("pesq_wb", speech, speech) == pytest.approx(4.644, abs=5e-4)
    assert value("pesq_nb", speech, speech) == pytest.approx(4.549, abs=5e-4)
    assert value("stoi", speech, speech) == pytest.approx(1.0)
    assert value("estoi", speech, speech) == pytest.approx(1.0)
    assert value("si_sdr", speech, speech) == 100.0
    assert value("sdr", speech, speech) == pytest.approx(100.0, abs=1.0)
    assert value("seg_snr", speech, speech) == 35.0
    assert value("lsd", speech, speech) == 0.0
    assert [value(name, speech, speech) for name in ("csig", "cbak", "covl")] == [5.0, 5.0, 5.0]


def test_wide_and_narrow_band_pesq_are_two_scales(speech: np.ndarray) -> None:
    estimate = speech + 0.01 * np.random.default_rng(3).standard_normal(speech.size)
    both = score(["pesq_wb", "pesq_nb"], speech, estimate, RATE)
    assert both["pesq_nb"].value > both["pesq_wb"].value + 0.2


def test_pesq_at_48_khz_is_that_of_the_resampled_file(make_speech) -> None:
    from vae_se.audio.resample import resample

    speech = make_speech(1.5, rate=48000)
    estimate = speech + 0.01 * np.random.default_rng(4).standard_normal(speech.size)
    low = [resample(x, 48000, 16000) for x in (speech, estimate)]
    assert value("pesq_wb", speech, estimate, 48000) == pytest.approx(value("pesq_wb", *low))


def test_ratings_as_published() -> None:
    # The worked example distributed with Loizou's composite program: sp09.wav and enhanced_logmmse.wav.
    got = ratings(quality=2.255732, llr=0.681368, wss=49.671978, snr=3.991727)
    assert got == pytest.approx((3.3050, 2.6160, 2.7133), abs=5e-5)


def test_ratings_stay_within_the_scale() -> None:
    assert ratings(4.64, 0.0, 0.0, 35.0) == (5.0, 5.0, 5.0)
    assert ratings(1.0, 5.0, 200.0, -10.0)[0] == 1.0


def test_the_composites_are_the_regressions_on_their_parts(speech: np.ndarray) -> None:
    estimate = distorted(speech, 10.0)
    expected = ratings(*parts(Pair(speech, estimate, RATE)))
    got = score(["csig", "cbak", "covl"], speech, estimate, RATE)
    assert tuple(got[name].value for name in ("csig", "cbak", "covl")) == pytest.approx(expected)


@pytest.mark.parametrize("gain_db", [-20.0, -3.0, 6.0])
def test_distance_of_a_change_of_level(gain_db: float) -> None:
    noise = np.random.default_rng(5).standard_normal(RATE)
    louder = noise * 10 ** (gain_db / 20)
    assert value("lsd", noise, louder) == pytest.approx(abs(gain_db), abs=1e-3)
    error_db = -20 * math.log10(abs(10 ** (gain_db / 20) - 1))
    assert value("seg_snr", noise, louder) == pytest.approx(error_db, abs=1e-6)


def test_channels_are_averaged(speech: np.ndarray) -> None:
    a, b = distorted(speech, 0.0), distorted(speech, 10.0, 1)
    both = value("si_sdr", np.stack([speech, speech]), np.stack([a, b]))
    assert both == pytest.approx((value("si_sdr", speech, a) + value("si_sdr", speech, b)) / 2)


def test_every_metric_says_where_it_comes_from() -> None:
    for name in METRICS:
        metric = METRICS[name]
        assert metric.name == name
        assert metric.unit
        assert any(year in metric.source for year in map(str, range(1970, 2026)))
        assert metric.function.__doc__
