"""Pairs that cannot be scored give NaN with a reason; arguments and global state do not change."""

from __future__ import annotations

import builtins
import math
import sys
import types
import warnings

import numpy as np
import pytest

from vae_se.errors import UsageError
from vae_se.metrics import METRICS, Score, score

RATE = 16000
NAMES = sorted(name for name in METRICS if METRICS[name].needs_reference)
NOISE = 0.1 * np.random.default_rng(0).standard_normal(RATE)


def reasons(
    reference: np.ndarray, estimate: np.ndarray, rate: int = RATE, **more: np.ndarray
) -> dict[str, str]:
    """Reasons of all metrics; either there is a value, or NaN and a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(NAMES, reference, estimate, rate, **more)
    assert sorted(scores) == NAMES
    for value, reason in scores.values():
        assert math.isfinite(value) == (reason == "")
    return {name: result.reason for name, result in scores.items()}


def all_say(found: dict[str, str], text: str) -> bool:
    return all(text in reason for reason in found.values())


def test_silent_reference() -> None:
    assert all_say(reasons(np.zeros(RATE), NOISE), "reference is silent")
    assert all_say(reasons(1e-9 * NOISE, NOISE), "reference is silent")


def test_silent_estimate() -> None:
    found = reasons(NOISE, np.zeros(RATE), noise=NOISE[::-1].copy())
    assert found["si_sdr"] == found["pesq_wb"] == found["stoi"] == found["covl"] == "the estimate is silent"
    assert found["seg_snr"] == ""


def test_unequal_lengths_and_channels() -> None:
    assert all_say(reasons(NOISE, NOISE[:-1]), "unequal lengths: estimate 15999, reference 16000")
    assert all_say(reasons(NOISE, np.stack([NOISE, NOISE])), "unequal channels")
    assert all_say(reasons(NOISE, NOISE, noise=NOISE[:-1]), "unequal lengths: noise")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite(bad: float) -> None:
    broken = NOISE.copy()
    broken[[5, 9]] = bad
    assert all_say(reasons(NOISE, broken), "the estimate has 2 samples that are not finite")
    assert all_say(reasons(broken, NOISE), "the reference has 2 samples that are not finite")


@pytest.mark.parametrize("rate", [0, -16000, 16000.5, math.nan])
def test_wrong_rate(rate: float) -> None:
    assert all_say(reasons(NOISE, NOISE, rate), "wrong rate")  # type: ignore[arg-type]


def test_no_waveform() -> None:
    assert all_say(reasons(np.zeros((0,)), np.zeros((0,))), "empty")
    assert all_say(reasons(np.zeros((2, 3, 4)), NOISE), "not a waveform")
    assert all_say(reasons((NOISE * 3000).astype(np.int16), NOISE), "int16")


@pytest.mark.parametrize("samples", [1, 100, 2000])
def test_short_files(samples: int) -> None:
    found = reasons(NOISE[:samples], NOISE[:samples] + 0.01, noise=NOISE[-samples:])
    assert found["si_sdr"] == ""
    for name in ("pesq_wb", "pesq_nb", "csig", "cbak", "covl"):
        assert "PESQ needs 0.25 s" in found[name]
    for name in ("stoi", "estoi"):
        assert "too short for STOI" in found[name]


def test_rates_without_a_wide_band() -> None:
    found = reasons(NOISE, NOISE, 8000)
    assert "16000 Hz or more" in found["pesq_wb"]
    assert "16000 Hz or more" in found["covl"]
    assert found["pesq_nb"] == ""
    assert "8000 Hz or more" in reasons(NOISE, NOISE, 4000)["pesq_nb"]


def test_the_split_needs_the_noise() -> None:
    found = reasons(NOISE, NOISE)
    assert "needs the noise" in found["si_sir"]
    assert "needs the noise" in found["si_sar"]
    assert "multiple of the reference" in reasons(NOISE, NOISE, noise=2 * NOISE)["si_sir"]


def test_dnsmos_is_asked_only_what_it_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    def run(sample: np.ndarray, sr: int, **more: object) -> dict[str, float]:
        assert sr == 16000
        asked.append(sample)
        return {"ovrl_mos": 3.0, "sig_mos": 3.5, "bak_mos": 4.0, "p808_mos": 3.2}

    dnsmos = types.SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "speechmos", types.SimpleNamespace(dnsmos=dnsmos))
    names = [name for name in METRICS if not METRICS[name].needs_reference]

    def scored(estimate: np.ndarray, rate: int = RATE) -> dict[str, Score]:
        return score(names, NOISE[: estimate.size], estimate, rate)

    assert scored(NOISE)["dnsmos"].value == 3.0
    assert scored(NOISE)["dnsmos_bak"].value == 4.0
    assert len(asked) == 2  # the four scores of a recording come from one run
    assert all_say({"": scored(np.zeros(RATE))["dnsmos"].reason}, "silent")
    assert all_say({"": scored(NOISE[:3000])["dnsmos"].reason}, "needs 0.25 s")
    assert "empty" in scored(NOISE[:0])["dnsmos"].reason
    assert len(asked) == 2
    scored(30 * NOISE)
    scored(NOISE, 8000)
    assert np.abs(asked[2]).max() <= 1.0
    assert asked[3].size == 2 * RATE


@pytest.mark.slow
def test_dnsmos_hears_noise() -> None:
    pytest.importorskip("speechmos")
    noisy = score(["dnsmos", "dnsmos_bak"], NOISE, NOISE, RATE)
    assert all(1.0 <= found.value < 2.0 for found in noisy.values())


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: object, **more: object) -> object:
        if name in ("pesq", "pystoi"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    found = reasons(NOISE, NOISE)
    assert found["pesq_wb"] == found["covl"] == "pesq is not installed: pip install 'vae-se[metrics]'"
    assert found["stoi"] == "pystoi is not installed: pip install 'vae-se[metrics]'"
    assert found["si_sdr"] == ""


def test_a_library_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    import pesq

    def broken(*arguments: object) -> float:
        raise ValueError("cannot convert float NaN to integer")

    monkeypatch.setattr(pesq, "pesq", broken)
    found = reasons(NOISE, NOISE)
    assert found["pesq_wb"] == "pesq_wb raised ValueError: cannot convert float NaN to integer"


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UsageError, match="pesq_bw") as error:
        score(["pesq_bw"], NOISE, NOISE, RATE)
    assert "pesq_wb" in error.value.hint


def test_the_global_generator_and_the_arguments_are_left_alone(make_speech) -> None:
    speech = make_speech(1.0)
    estimate = speech + 0.01 * NOISE
    copies = speech.copy(), estimate.copy()
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = score(NAMES, speech, estimate, RATE, noise=estimate - speech)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(8)  # noqa: NPY002
    second = score(NAMES, speech, estimate, RATE, noise=estimate - speech)
    values = [[result.value for result in scores.values()] for scores in (first, second)]
    np.testing.assert_array_equal(*values)
    assert np.array_equal(speech, copies[0])
    assert np.array_equal(estimate, copies[1])
