"""The contract of baselines: same shape, type, rate and level; finite; deterministic; arguments unchanged."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from vae_se.baselines import BASELINES, Baseline, MissingPackage
from vae_se.errors import AudioError

RATE = 16000


@pytest.fixture(params=sorted(BASELINES), scope="module")
def baseline(request: pytest.FixtureRequest) -> Baseline:
    found = BASELINES[request.param]
    try:
        found.enhance(np.full(64, 0.1), RATE, clean=np.full(64, 0.1))
    except MissingPackage as error:
        pytest.skip(f"{error}: {error.hint}")
    return found


def enhance(baseline: Baseline, noisy: np.ndarray, rate: int = RATE) -> np.ndarray:
    """With a clean signal of half the mixture for oracles; no warning, a finite result of the same kind."""
    before = noisy.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = baseline.enhance(noisy, rate, clean=0.5 * noisy)
    assert out.shape == noisy.shape
    assert out.dtype == noisy.dtype
    assert np.isfinite(out).all()
    assert np.array_equal(noisy, before)
    return out


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 511, 513, 2000])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_length_and_rate(baseline: Baseline, samples: int, rate: int) -> None:
    noise = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    enhance(baseline, noise, rate)
    enhance(baseline, np.eye(1, samples, samples // 2)[0], rate)


def test_silence_stays_silence(baseline: Baseline) -> None:
    assert not enhance(baseline, np.zeros(3000)).any()


def test_a_second_of_digital_silence_inside(baseline: Baseline, make_noisy) -> None:
    noisy = make_noisy(2.0)
    noisy[8000:24000] = 0.0
    enhance(baseline, noisy)


def test_clipped_and_constant(baseline: Baseline, make_noisy) -> None:
    enhance(baseline, np.clip(20 * make_noisy(0.5), -1.0, 1.0))
    enhance(baseline, np.full(4000, 0.3))


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e4])
def test_level_equivariant(baseline: Baseline, make_noisy, scale: float) -> None:
    noisy = make_noisy(0.7)
    expected = enhance(baseline, noisy)
    np.testing.assert_allclose(enhance(baseline, scale * noisy) / scale, expected, atol=1e-9)


def test_channels_are_enhanced_one_by_one(baseline: Baseline, make_noisy) -> None:
    a, b = make_noisy(0.5, seed=1), 0.1 * make_noisy(0.5, seed=2)
    both = enhance(baseline, np.stack([a, b]))
    np.testing.assert_array_equal(both, np.stack([enhance(baseline, a), enhance(baseline, b)]))


def test_deterministic_and_global_generator_untouched(baseline: Baseline, make_noisy) -> None:
    noisy = make_noisy(0.5)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = enhance(baseline, noisy)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(4)  # noqa: NPY002
    np.testing.assert_array_equal(first, enhance(baseline, noisy))


def test_float32_in_float32_out(baseline: Baseline, make_noisy) -> None:
    noisy = make_noisy(0.5)
    out = enhance(baseline, noisy.astype(np.float32))
    np.testing.assert_allclose(out, enhance(baseline, noisy), atol=1e-4)


def test_refuses_what_is_no_audio(baseline: Baseline) -> None:
    good = np.full(100, 0.1)
    for bad in (np.full(100, np.nan), np.zeros((2, 3, 4)), np.zeros(100, dtype=np.int16)):
        with pytest.raises(AudioError):
            baseline.enhance(bad, RATE, clean=bad)
    with pytest.raises(AudioError, match="rate"):
        baseline.enhance(good, 0, clean=good)


def test_says_where_it_comes_from(baseline: Baseline) -> None:
    assert BASELINES[baseline.name] is baseline
    assert baseline.reference


@pytest.mark.data
def test_does_not_break_real_speech(baseline: Baseline, data_folder: Path) -> None:
    import soundfile

    path = sorted((data_folder / "speech" / "valid").rglob("*.flac"))[0]
    speech = soundfile.read(path)[0][: 3 * RATE]
    noisy = speech + 0.1 * np.std(speech) * np.random.default_rng(0).standard_normal(speech.size)
    out = baseline.enhance(noisy, RATE, clean=speech)
    # Not a measure of quality (noisereduce halves the speech): it catches a delay, a sign, a lost level.
    assert np.corrcoef(out, speech)[0, 1] > 0.8
    assert 0.3 < np.dot(out, speech) / np.dot(speech, speech) < 1.3
