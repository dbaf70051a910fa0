"""Recordings of more than 16 kHz keep what lies above 8 kHz: speech there is enhanced, not removed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.audio import files
from vae_se.audio.level import active_rms
from vae_se.audio.resample import resample
from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import PriorError, UsageError
from vae_se.high_band import store
from vae_se.high_band.bands import HIGH_BANDS, LOW_BANDS, low_band_power, triangles
from vae_se.high_band.decoder import HighBandDecoder
from vae_se.high_band.em import HighBandEM
from vae_se.high_band.frames import AlignedSTFT
from vae_se.metrics import score
from vae_se.signal_spec import SignalSpec

QUICK = {"inference__iterations": 3, "inference__averaging": 1, "device": "cpu", "threads": 1}
#: The noisy encoder takes some of the synthetic voice's hiss for noise. The calibration is that of results with
#: it.
PLAIN = {"inference__noisy_encoder": "none", "inference__iterations": 20, "inference__calibrate": False}


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained(**QUICK)


def like(enhancer: Enhancer, **settings: Any) -> Enhancer:
    """The same enhancer with other settings."""
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    return Enhancer(enhancer.config.override(changed), enhancer.prior, enhancer.device, 1)


@pytest.fixture(scope="module")
def low_band(enhancer):
    return like(enhancer, output__band="8k")


def band(samples: np.ndarray, rate: int, low: float, high: float = np.inf) -> np.ndarray:
    """The part of (T,) between two frequencies."""
    spectrum, hertz = np.fft.rfft(samples), np.fft.rfftfreq(samples.size, 1 / rate)
    spectrum[(hertz < low) | (hertz >= high)] = 0
    return np.fft.irfft(spectrum, samples.size)


def level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-30))


def wide(rate: int, seconds: float = 2.0) -> np.ndarray:
    """The example's speech at ``rate`` Hz, with a high band that is drawn from the model."""
    signal, seed = SignalSpec(), torch.Generator().manual_seed(0)
    low = files.read("examples/clean.wav").samples[0, 8000 : 8000 + round(16000 * seconds)].astype(np.float64)
    scale = active_rms(low, 16000)
    power = signal.stft.analyse(torch.from_numpy((low / scale).astype(np.float32))).abs().square()
    stft = AlignedSTFT(signal, rate)
    weights = triangles(stft.frequencies)
    weights[:, stft.frequencies < 8000] = 0
    variance = store.load_high_band()(low_band_power(power)).exp() @ weights
    parts = torch.randn(2, *variance.shape, generator=seed)
    samples = resample(low, 16000, rate)
    first, _ = stft.span(0, len(power))
    high = stft.contribution(torch.complex(parts[0], parts[1]) * variance.sqrt(), 0, len(power))
    high = band(high.astype(np.float64)[-first:][: samples.size], rate, 8000)
    return samples + scale * np.pad(high, (0, samples.size - high.size))


@pytest.mark.parametrize("rate", [17001, 22050, 32000, 44100, 48000, 96000])
def test_frames_lie_where_those_of_the_prior_lie_and_reconstruct(rate):
    signal, x = SignalSpec(), np.random.default_rng(0).standard_normal(rate // 2).astype(np.float32)
    stft = AlignedSTFT(signal, rate)
    frames = signal.stft.frames(8000)
    first, last = stft.span(0, frames)
    padded = np.pad(x, (-first, max(0, last - x.size)))[: last - first]
    spectra = stft.transform(padded, 0, frames)
    y = stft.contribution(spectra, 0, frames)[-first:][: x.size]
    np.testing.assert_allclose(y, x[: y.size], atol=3e-6)
    centres = (stft.starts(0, frames) + stft.window / 2) / rate
    expected = (np.arange(frames) * signal.hop + signal.hop - signal.window / 2) / signal.rate
    np.testing.assert_allclose(centres, expected, atol=0.51 / rate)


def test_parts_of_a_recording_sum_to_the_whole():
    signal, rate = SignalSpec(), 44100
    stft, x = AlignedSTFT(signal, rate), np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    frames, before, behind = signal.stft.frames(16000), 3000, 8000
    padded = np.pad(x, (before, behind))
    total = np.zeros_like(padded)
    for start, stop in ((0, 20), (20, 21), (21, frames)):
        first, last = stft.span(start, stop)
        span = slice(before + first, before + last)
        total[span] += stft.contribution(stft.transform(padded[span], start, stop), start, stop)
    np.testing.assert_allclose(total[before : before + x.size], x, atol=3e-6)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_hiss_goes_and_speech_stays_in_both_channels(enhancer, low_band, rate):
    clean = np.stack([wide(rate), 0.3 * wide(rate)])
    rng = np.random.default_rng(0)
    noisy = clean + 0.02 * np.std(clean, axis=1, keepdims=True) * rng.standard_normal(clean.shape)
    speech, same = (like(one, **PLAIN).enhance(noisy, rate) for one in (enhancer, low_band))
    narrow = low_band.enhance(noisy, rate)
    for c in range(2):
        before, after = (level(band(x[c] - clean[c], rate, 8500, 15000)) for x in (noisy, speech))
        assert after < before - 4
        kept = level(band(speech[c], rate, 8500, 15000)) - level(band(clean[c], rate, 8500, 15000))
        assert -3 < kept < 1
        assert level(band(narrow[c], rate, 8500, 15000)) < level(band(noisy[c], rate, 8500, 15000)) - 8
        # The low band is the same; only how much of its noise stays is measured without the high band.
        difference = band(speech[c] - same[c], rate, 0, 7000)
        assert level(difference) < level(band(clean[c], rate, 0, 7000)) - 45


def test_clean_speech_comes_through(enhancer):
    clean = wide(48000)
    found = score(["lsd_8_16k", "lsd_16_24k"], clean, enhancer.enhance(clean, 48000), 48000)
    assert found["lsd_8_16k"].value < 1
    assert found["lsd_16_24k"].value < 1


@pytest.mark.parametrize("rate", [32000, 48000, 96000])
def test_what_is_empty_above_8_khz_stays_empty(enhancer, rate):
    noisy = resample(noisy_like(2.0), 16000, rate)
    speech = enhancer.enhance(noisy, rate)
    assert level(band(speech, rate, 8200)) <= level(band(noisy, rate, 8200)) + 0.1


def test_what_lies_above_24_khz_is_treated_like_the_top_band(enhancer):
    rng = np.random.default_rng(0)
    noisy = wide(96000) + 0.01 * rng.standard_normal(192000)
    speech = enhancer.enhance(noisy, 96000)
    assert level(band(speech, 96000, 26000)) < level(band(noisy, 96000, 26000)) - 10


def test_16_khz_loads_nothing_and_gives_the_same_bits(enhancer, low_band, monkeypatch):
    def unwanted(*_: object) -> None:
        raise AssertionError("the decoder of the high band was loaded")

    monkeypatch.setattr("vae_se.enhancement.enhancer.load_high_band", unwanted)
    fresh = like(enhancer, seed=0)
    for rate in (8000, 16000):
        noisy = noisy_like(1.0, rate)
        np.testing.assert_array_equal(fresh.enhance(noisy, rate), low_band.enhance(noisy, rate))


@pytest.mark.parametrize("samples", [1, 50, 3000])
def test_short_silent_and_clipped_recordings(enhancer, samples):
    x = wide(48000)[20000 : 20000 + samples]
    for noisy in (x, np.zeros(samples), np.clip(100 * x, -1, 1), (32767 * np.clip(x, -1, 1)).astype(np.int16)):
        speech = enhancer.enhance(noisy, 48000)
        assert speech.shape == noisy.shape
        assert speech.dtype == noisy.dtype
        assert np.isfinite(speech).all()
        if not noisy.any():
            assert not speech.any()


def test_level_of_the_recording_makes_no_difference(enhancer):
    noisy = wide(48000, 1.0) + 0.003 * np.random.default_rng(0).standard_normal(48000)
    speech, quiet = enhancer.enhance(noisy, 48000), enhancer.enhance(1e-4 * noisy, 48000)
    np.testing.assert_allclose(1e4 * quiet, speech, atol=2e-3 * np.abs(speech).max())


def test_segments_are_cross_faded(enhancer):
    noisy = wide(44100) + 0.003 * np.random.default_rng(0).standard_normal(88200)
    cut = like(
        enhancer,
        inference__segment=0.8,
        inference__overlap=0.2,
        output__floor_db=np.inf,
        **PLAIN,
    )
    speech, info = cut.enhance(noisy, 44100, return_info=True)
    assert len(info.segment_snr_db) > 2
    np.testing.assert_allclose(speech + info.noise, noisy, atol=1e-6)
    # What a segment contributes has the same level as that of the whole.
    whole = like(enhancer, output__floor_db=np.inf, **PLAIN).enhance(noisy, 44100)
    difference = level(band(speech, 44100, 8500)) - level(band(whole, 44100, 8500))
    assert abs(difference) < 1


def test_an_unknown_band_is_refused():
    with pytest.raises(UsageError, match=r"output\.band"):
        Enhancer.from_pretrained(method="log-mmse", output__band="12k")


def test_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path):
    with pytest.raises(PriorError, match="high band"):
        store.load_high_band(folder=tmp_path)
    decoder = HighBandDecoder(context=1, hidden=8)
    store.save_high_band(decoder, tmp_path)
    loaded = store.load_high_band(folder=tmp_path)
    low = torch.rand(5, LOW_BANDS)
    with torch.no_grad():
        np.testing.assert_allclose(loaded(low), decoder(low), atol=1e-2)
    text = (tmp_path / store.DESCRIPTION).read_text()
    (tmp_path / store.DESCRIPTION).write_text(text.replace('"hidden": 8', '"hidden": 9'))
    with pytest.raises(PriorError, match="do not fit"):
        store.load_high_band(folder=tmp_path)


def test_the_filter_finds_speech_of_known_variance_in_steady_noise():
    """Data drawn from the model: the filter is that of the true variances, within a decibel of its error."""
    generator = torch.Generator().manual_seed(0)
    hertz = np.linspace(8000, 24000, 512)
    weights = triangles(hertz)
    gate = (torch.rand(200, 1, generator=generator) < 0.4).float()
    eta = torch.where(gate > 0, 2.0, -6.0) + torch.zeros(200, HIGH_BANDS)
    speech, noise = eta.exp() @ weights, torch.full((200, 512), 0.5)

    def draw(variance: torch.Tensor) -> torch.Tensor:
        parts = torch.randn(2, *variance.shape, generator=generator)
        return torch.complex(parts[0], parts[1]) * (variance / 2).sqrt()

    s, b = draw(speech), draw(noise)
    wiener = HighBandEM().filter((s + b).abs().square(), eta, weights)

    def error(mask: torch.Tensor) -> float:
        return float(10 * torch.log10((mask * (s + b) - s).abs().square().mean()))

    assert error(wiener) < error(speech / (speech + noise)) + 1
    # A loud impostor without speech in the low band is noise, not speech.
    loud = (s + b).clone()
    loud[:, 100:200] *= 10
    wiener = HighBandEM().filter(loud.abs().square(), eta, weights)
    assert float(wiener[gate[:, 0] == 0][:, 110:190].mean()) < 0.1


def test_bands_of_the_low_band_are_means_of_bins():
    power = torch.arange(513.0).expand(2, -1)
    assert low_band_power(power).shape == (2, LOW_BANDS)
    assert low_band_power(power)[0, 0] == pytest.approx(8.5)
