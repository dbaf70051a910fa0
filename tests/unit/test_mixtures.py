"""Mixtures for training: level, SNR, and dependence of a batch on its number alone."""

import functools

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import fftconvolve

from tests.conftest import speech_like
from tests.toys import tiny_prior
from vae_se.audio.level import active_rms
from vae_se.data.waveforms import Waveforms
from vae_se.training.mixtures import MixtureSource, read_noise

PRIOR = tiny_prior()
RATE = PRIOR.signal.rate
#: One kind of mixture at a time: the draws that choose among kinds stay the same.
PLAIN = {"clean": 0.0, "babble": 0.0, "pause": 0.0, "seconds": 1.0}


@functools.cache
def speech(seconds=6.0, seed=0):
    """One long recording at the prior's active level."""
    sound = speech_like(seconds, RATE, seed)
    sound = sound * (PRIOR.signal.active_rms / active_rms(sound, RATE))
    scale = np.abs(sound).max() / 32767
    return Waveforms(np.round(sound / scale).astype(np.int16), np.array([0]), np.array([scale], np.float32))


def source(**changes):
    return MixtureSource([(speech(), 1.0)], PRIOR, **PLAIN | changes)


def sound(spectrum, seconds=1.0):
    return PRIOR.signal.stft.synthesise(spectrum, round(seconds * RATE)).numpy()


def test_shapes_and_finite():
    batch = source().draw(0, "train", 0, 3)
    frames = PRIOR.signal.stft.frames(RATE)
    assert batch.speech.shape == batch.noise.shape == (3, frames, PRIOR.signal.stft.bins)
    assert batch.speech.is_complex()
    assert torch.isfinite(torch.view_as_real(batch.speech + batch.noise)).all()


@pytest.mark.parametrize("kind", [{}, {"babble": 1.0}, {"clean": 1.0}, {"pause": 1.0}])
def test_the_mixture_has_the_prior_s_active_level(kind):
    batch = source(**kind).draw(1, "train", 0, 4)
    # Linear: the sum of the spectrograms is that of the sum.
    for mixture in sound(batch.speech + batch.noise):
        assert active_rms(mixture, RATE) == pytest.approx(PRIOR.signal.active_rms, rel=1e-3)


def test_the_snr_is_that_which_was_drawn():
    """The SNR relates the level of the speech in the corpus to the power of the noise."""
    for snr in (-5.0, 10.0):
        batch = source(snr_db=(snr, snr)).draw(2, "train", 0, 6)
        for s, b in zip(sound(batch.speech), sound(batch.noise), strict=True):
            # The cut's own level differs from the corpus's; the scale of the mixture is common to both.
            cut = s / np.sqrt(np.mean(b**2)) * 10 ** (-snr / 20) * PRIOR.signal.active_rms
            assert contains(cut)


def contains(cut):
    """Whether ``cut`` is a part of the corpus at its original level."""
    whole = speech().cut(0, len(speech()))
    correlation = fftconvolve(whole, cut[::-1], "valid")
    start = int(np.argmax(correlation))
    return np.allclose(whole[start : start + cut.size], cut, atol=0.02 * np.abs(cut).max())


def test_snrs_fill_their_range():
    batch = source(snr_db=(-8.0, 22.0)).draw(0, "train", 0, 40)
    ratio = sound(batch.speech).std(-1) / sound(batch.noise).std(-1)
    decibels = 20 * np.log10(ratio)
    assert decibels.min() < -2
    assert decibels.max() > 15


def test_clean_mixtures_have_noise_45_db_down():
    batch = source(clean=1.0).draw(0, "train", 0, 4)
    ratio = sound(batch.speech).std(-1) / sound(batch.noise).std(-1)
    # The cut's root mean square lies some dB around the corpus's active level.
    assert (np.abs(20 * np.log10(ratio) - 45) < 8).all()


def test_pauses_begin_the_mixture():
    batch = source(pause=1.0, seconds=2.0).draw(0, "train", 0, 8)
    for row in sound(batch.speech, 2.0):
        first = int(np.argmax(np.abs(row) > 1e-4 * np.abs(row).max()))
        assert 0.2 * RATE - PRIOR.signal.window <= first <= 1.7 * RATE


def test_babble_is_other_speech_and_not_simulated():
    class NoDecoder:
        signal = PRIOR.signal
        decode = sample = None

    noise = [np.zeros(RATE, np.float32)]
    only = MixtureSource([(speech(), 1.0)], NoDecoder(), **PLAIN | {"babble": 1.0}, recorded=noise)
    batch = only.draw(0, "train", 0, 3)
    assert (sound(batch.noise).std(-1) > 0).all()


def test_a_batch_depends_on_its_number_and_nothing_else():
    a, b = source(), source()
    for step in range(3):
        a.draw(0, "train", step, 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    late, early = a.draw(0, "train", 3, 2), b.draw(0, "train", 3, 2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(late.speech, early.speech)
    assert torch.equal(late.noise, early.noise)
    for other in (b.draw(1, "train", 3, 2), b.draw(0, "valid", 3, 2), b.draw(0, "train", 4, 2)):
        assert not torch.equal(other.speech, early.speech)
        assert not torch.equal(other.noise, early.noise)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_recorded_noise_short_or_long(seconds):
    """A recording that is too short begins again."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)
    batch = source(recorded=[tone]).draw(0, "train", 0, 2)
    power = batch.noise.abs().square().mean((0, 1))
    # 64 samples at 16 kHz: bins of 250 Hz.
    assert int(power.argmax()) == 4
    assert power[3:6].sum() > 0.95 * power.sum()


def test_read_noise(tmp_path):
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "a.wav", np.full((800, 2), [0.5, -0.5]), 8000)
    soundfile.write(tmp_path / "deep" / "b.flac", np.zeros(1600), 16000)
    a, b = read_noise(tmp_path, 16000)
    assert a.dtype == b.dtype == np.float32
    assert (a.size, b.size) == (1600, 1600)
    assert np.median(a) == pytest.approx(0.5, abs=0.01)  # the first channel


def test_recordings_that_just_do():
    """Speech of exactly the length that is asked for has one cut."""
    exact = MixtureSource([(speech(1.0), 1.0)], PRIOR, **PLAIN)
    assert exact.draw(0, "train", 0, 2).speech.shape[0] == 2
