"""Limits and means over frames, against slow loops and against the packages called directly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vae_se.metrics import score
from vae_se.metrics.base import Pair
from vae_se.metrics.composite import parts
from vae_se.metrics.llr import log_likelihood_ratio
from vae_se.metrics.segmental import EPS
from vae_se.metrics.wss import weighted_spectral_slope

RATE = 16000


@pytest.fixture(scope="module")
def pair(make_speech) -> tuple[np.ndarray, np.ndarray]:
    """Speech with pauses, and an estimate with noise and a burst."""
    speech = make_speech(2.0)
    estimate = speech + 0.004 * np.random.default_rng(0).standard_normal(speech.size)
    estimate[9000:9500] += 0.3 * np.random.default_rng(1).standard_normal(500)
    return speech, estimate


def value(name: str, reference: np.ndarray, estimate: np.ndarray) -> float:
    result = score([name], reference, estimate, RATE)[name]
    assert result.reason == ""
    return result.value


def test_a_frame_counts_at_least_minus_10_db_in_the_segmental_snr() -> None:
    """Half of the frames are hopeless, half are perfect."""
    noise = np.random.default_rng(3).standard_normal(RATE)
    hopeless = 100 * np.random.default_rng(4).standard_normal(RATE)
    assert value("seg_snr", noise, hopeless) == -10.0
    half = np.where(np.arange(RATE) < RATE // 2, hopeless, noise)
    assert value("seg_snr", noise, half) == pytest.approx((35 - 10) / 2, abs=1)


def test_log_spectral_distance_is_that_of_a_loop(pair) -> None:
    """The root mean square over bins, frame by frame, with a floor 80 dB below the reference's maximum."""
    reference, estimate = pair
    reference, estimate = reference.copy(), estimate.copy()
    reference[:4000] = 0
    estimate[20000:24000] = 0
    length, hop = 512, 256
    taper = np.array([0.5 - 0.5 * math.cos(2 * math.pi * (n + 1) / (length + 1)) for n in range(length)])

    def spectrum(wave: np.ndarray, n: int) -> np.ndarray:
        return np.abs(np.fft.rfft(taper * wave[n * hop : n * hop + length])) ** 2

    count = (reference.size - length) // hop + 1
    floor = 1e-8 * max(spectrum(reference, n).max() for n in range(count))
    total = 0.0
    for n in range(count):
        a, b = (np.maximum(spectrum(wave, n), floor) for wave in (reference, estimate))
        total += math.sqrt(np.mean((10 * np.log10(a / b)) ** 2))
    assert value("lsd", reference, estimate) == pytest.approx(total / count, rel=1e-9)


def test_composites_leave_out_the_worst_twentieth_of_the_frames(pair) -> None:
    reference, estimate = pair
    _, llr, wss, _ = parts(Pair(reference, estimate, RATE))
    for found, distance in ((llr, log_likelihood_ratio), (wss, weighted_spectral_slope)):
        frames = sorted(distance(reference + EPS, estimate + EPS, RATE).tolist())
        kept = frames[: round(0.95 * len(frames))]
        assert found == pytest.approx(sum(kept) / len(kept), rel=1e-12)
        assert found < sum(frames) / len(frames)


def test_stoi_is_that_of_its_package_at_the_rate_of_the_file(pair) -> None:
    package = pytest.importorskip("pystoi")
    for name, extended in (("stoi", False), ("estoi", True)):
        assert value(name, *pair) == pytest.approx(package.stoi(*pair, RATE, extended=extended), abs=1e-6)
    assert value("stoi", *pair) != pytest.approx(value("estoi", *pair), abs=1e-3)


def test_sdr_forgives_a_filter_of_512_taps_and_no_longer_one() -> None:
    """A delay of 511 samples is such a filter, a delay of 512 is not."""
    noise = np.random.default_rng(5).standard_normal(RATE)
    for delay, forgiven in ((511, True), (512, False)):
        estimate = np.concatenate([np.zeros(delay), noise[:-delay]])
        assert (value("sdr", noise, estimate) > 10) == forgiven
