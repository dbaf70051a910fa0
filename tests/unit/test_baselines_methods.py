"""Baselines on their own: formulas, masks, delay, dictionary."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.integrate import quad
from scipy.signal import correlate

from vae_se.audio.level import active_rms
from vae_se.baselines import BASELINES, MissingPackage, nmf
from vae_se.baselines.gains import conditional_presence, decision_directed, log_mmse_gain, run, wiener_gain
from vae_se.baselines.om_lsa import absence
from vae_se.baselines.spectral import Spectral, at_rate
from vae_se.errors import AudioError, UsageError
from vae_se.metrics import score
from vae_se.rng import numpy_stream

RATE = 16000


def si_sdr(speech: np.ndarray, estimate: np.ndarray) -> float:
    return score(["si_sdr"], speech, estimate, RATE)["si_sdr"].value


@pytest.mark.parametrize(
    ("name", "gain_db"),
    [
        ("log-mmse", 3.0),
        ("om-lsa", 3.0),
        ("wiener-dd", 3.0),
        ("spectral-subtraction", 3.0),
        ("nmf-supervised", 1.0),  # its dictionary was not trained on this synthetic voice
        ("oracle-irm", 6.0),
    ],
)
def test_white_noise_is_reduced(name: str, gain_db: float, make_speech) -> None:
    speech = make_speech(2.0)
    noisy = speech + np.std(speech) * 10 ** (-5 / 20) * np.random.default_rng(0).standard_normal(speech.size)
    out = BASELINES[name].enhance(noisy, RATE, clean=speech)
    assert si_sdr(speech, out) > si_sdr(speech, noisy) + gain_db


@pytest.mark.parametrize("prior", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("posterior", [0.5, 1.0, 20.0])
def test_log_mmse_gain_is_its_integral(prior: float, posterior: float) -> None:
    v = prior / (1 + prior) * posterior
    integral = quad(lambda t: math.exp(-t) / t, v, math.inf)[0]
    expected = min(1.0, prior / (1 + prior) * math.exp(0.5 * integral))
    assert log_mmse_gain(np.array(prior), np.array(posterior)) == pytest.approx(expected, rel=1e-6)


def test_gains_lie_between_0_and_1_and_grow_with_the_prior() -> None:
    prior = np.logspace(-3, 6, 200)
    for gain in (wiener_gain, log_mmse_gain):
        for posterior in (0.0, 1e-6, 1.0, 1e4):
            g = gain(prior, np.full_like(prior, posterior))
            assert ((g >= 0) & (g <= 1)).all()
            assert (np.diff(g) >= -1e-12).all()


def test_decision_directed_recursion_by_hand() -> None:
    power = np.array([[4.0], [2.0], [0.5]])
    gains, priors = run(power, np.ones((3, 1)), wiener_gain, 0.98)
    previous = 3.0
    for n in range(3):
        prior = max(0.98 * previous + 0.02 * max(power[n, 0] - 1, 0), 10**-2.5)
        assert priors[n, 0] == pytest.approx(prior)
        assert gains[n, 0] == pytest.approx(prior / (1 + prior))
        previous = gains[n, 0] ** 2 * power[n, 0]
    assert decision_directed(np.array(0.0), np.array(0.0), 0.98) == pytest.approx(10**-2.5)


def test_presence_is_bayes_rule() -> None:
    # Exponential likelihoods of the power: mean 1 without speech, 1 + xi with it.
    xi, gamma, q = 3.0, 2.5, 0.3
    with_speech = (1 - q) * math.exp(-gamma / (1 + xi)) / (1 + xi)
    without = q * math.exp(-gamma)
    got = conditional_presence(np.array(xi), np.array(gamma), np.array(q))
    assert got == pytest.approx(with_speech / (with_speech + without))


def test_absence_is_high_without_speech() -> None:
    spectral = Spectral(512, 128, RATE)
    quiet, loud = np.full((50, 257), 0.01), np.full((50, 257), 0.01)
    loud[25:] = 30.0
    assert (absence(quiet, spectral) == 0.95).all()
    assert absence(loud, spectral)[27:35].max() < 0.05


def test_oracle_of_the_clean_file_is_the_file(make_speech) -> None:
    speech = make_speech(0.5)
    for name in ("oracle-wiener", "oracle-irm"):
        np.testing.assert_allclose(BASELINES[name].enhance(speech, RATE, clean=speech), speech, atol=1e-9)


def test_only_oracles_see_the_clean_speech(make_noisy) -> None:
    noisy = make_noisy(0.3)
    for name in BASELINES:
        baseline = BASELINES[name]
        if baseline.oracle:
            with pytest.raises(UsageError, match="oracle"):
                baseline.enhance(noisy, RATE)
            with pytest.raises(AudioError, match="noisy is"):
                baseline.enhance(noisy, RATE, clean=noisy[:-1])
        elif not baseline.package:
            with_clean = baseline.enhance(noisy, RATE, clean=noisy[::-1].copy())
            np.testing.assert_array_equal(with_clean, baseline.enhance(noisy, RATE))


def test_rnnoise_does_not_delay(make_speech) -> None:
    pytest.importorskip("pyrnnoise")
    speech = make_speech(3.0)
    out = BASELINES["rnnoise"].enhance(speech, RATE)
    lag = int(np.argmax(correlate(out, speech, method="fft"))) - (speech.size - 1)
    assert lag == 0


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "noisereduce", None)
    with pytest.raises(MissingPackage, match="noisereduce") as error:
        BASELINES["noisereduce"].enhance(np.full(100, 0.1), RATE)
    assert "vae-se[baselines]" in error.value.hint


def test_nmf_never_raises_its_divergence() -> None:
    rng = np.random.default_rng(0)
    power = rng.exponential(size=(30, 20)) + 1e-3
    moved, fixed = rng.uniform(0.5, 1.5, (30, 4)), rng.uniform(0.5, 1.5, (4, 20))
    divergence = []
    for _ in range(20):
        model = moved @ fixed
        divergence.append(np.sum(power / model + np.log(model)))
        moved = nmf.update(power, moved, fixed, model)
        fixed = nmf.update(power.T, fixed.T, moved.T, (moved @ fixed).T).T
    assert (np.diff(divergence) <= 1e-9).all()


def test_a_step_of_nmf_goes_half_of_the_way_in_logarithms() -> None:
    """With one atom the best activation is the mean of power over atom; a step goes half way."""
    rng = np.random.default_rng(0)
    power, fixed = rng.exponential(size=(5, 20)), rng.uniform(0.5, 1.5, (1, 20))
    moved = rng.uniform(0.1, 10, (5, 1))
    best = (power / fixed).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(nmf.update(power, moved, fixed, moved @ fixed), np.sqrt(moved * best))


def test_nmf_learns_and_stores_a_dictionary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(3, 513, 100) + 0.01
    power = rng.gamma(0.3, size=(300, 3)) @ truth * rng.exponential(size=(300, 513)) + 1e-6
    atoms = nmf.learn(power, 3, 20, numpy_stream(0, "test"))
    np.testing.assert_allclose(atoms.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(atoms, nmf.learn(power, 3, 20, numpy_stream(0, "test")))
    nmf.SpeechDictionary(atoms, Spectral(1024, 256, RATE)).save(tmp_path)
    loaded = nmf.load_dictionary(tmp_path)
    np.testing.assert_allclose(loaded.atoms, atoms, rtol=1e-5)
    assert loaded.spectral == Spectral(1024, 256, RATE)


def test_a_missing_or_broken_dictionary(tmp_path: Path) -> None:
    with pytest.raises(nmf.DictionaryError, match="cannot read") as error:
        nmf.load_dictionary(tmp_path / "none")
    assert "train_nmf_dictionary" in error.value.hint
    nmf.SpeechDictionary(np.ones((7, 2)), Spectral(1024, 256, RATE)).save(tmp_path)
    with pytest.raises(nmf.DictionaryError, match="shape"):
        nmf.load_dictionary(tmp_path)


def test_at_rate_keeps_the_length() -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(4411) / 44100)
    out = at_rate(wave, 44100, 16000, lambda x: x)
    assert out.shape == wave.shape
    np.testing.assert_allclose(out[500:-500], wave[500:-500], atol=1e-3)


@pytest.mark.data
def test_gains_on_real_mixtures(data_folder: Path) -> None:
    speeches = sorted((data_folder / "speech" / "valid").rglob("*.flac"))
    change = {name: [] for name in ("log-mmse", "om-lsa")}
    for index, noise_name in enumerate(("rain", "vacuuming", "car-engine")):
        speech = soundfile.read(speeches[index * 60])[0][: 4 * RATE]
        noise = soundfile.read(sorted((data_folder / "noise" / noise_name).glob("*.flac"))[0])[0]
        noise = np.resize(noise, speech.size)
        noisy = speech + noise * active_rms(speech, RATE) / np.std(noise) * 10 ** (-5 / 20)
        for name, changes in change.items():
            out = BASELINES[name].enhance(noisy, RATE)
            changes.append(si_sdr(speech, out) - si_sdr(speech, noisy))
    assert np.mean(change["log-mmse"]) > 2
    assert np.mean(change["om-lsa"]) > 2
