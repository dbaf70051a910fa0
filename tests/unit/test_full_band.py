"""Recordings of more than 16 kHz keep what lies above 8 kHz: speech there is enhanced, not removed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like, speech_like
from vae_se.audio.resample import resample
from vae_se.config import Config
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


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained(**QUICK)


@pytest.fixture(scope="module")
def low_band():
    return Enhancer.from_pretrained(**QUICK, output__band="8k")


def band(samples: np.ndarray, rate: int, low: float, high: float = np.inf) -> np.ndarray:
    """The part of (T,) between two frequencies."""
    spectrum, hertz = np.fft.rfft(samples), np.fft.rfftfreq(samples.size, 1 / rate)
    spectrum[(hertz < low) | (hertz >= high)] = 0
    return np.fft.irfft(spectrum, samples.size)


def level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-30))


def fricatives(rate: int, seed: int = 0) -> np.ndarray:
    """Speech-like sound with bursts of noise above 4 kHz, as of [s]."""
    speech = speech_like(2.0, rate, seed)
    noise = np.random.default_rng(seed).standard_normal(speech.size)
    gate = np.clip(np.sin(2 * np.pi * 1.5 * np.arange(speech.size) / rate), 0, 1) ** 2
    return speech + 0.03 * gate * band(noise, rate, 4000, 15000)


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
    frames = signal.stft.frames(16000)
    total = np.zeros(x.size + 4000, np.float32)
    for start, stop in ((0, 20), (20, 21), (21, frames)):
        first, last = stft.span(start, stop)
        padded = np.pad(x, (3000, 8000))[first + 3000 : last + 3000]
        part = stft.contribution(stft.transform(padded, start, stop), start, stop)
        total[first + 3000 - 1000 : last + 3000 - 1000][: part.size] += part[: total.size - first - 2000]
    np.testing.assert_allclose(total[2000 : 2000 + x.size - 100], x[:-100], atol=3e-6)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_hiss_goes_and_speech_stays_in_both_channels(enhancer, low_band, rate):
    clean = np.stack([fricatives(rate), fricatives(rate, 1)])
    rng = np.random.default_rng(0)
    noisy = clean + 0.004 * rng.standard_normal(clean.shape)
    speech, narrow = enhancer.enhance(noisy, rate), low_band.enhance(noisy, rate)
    for c in range(2):
        scores = [
            score(["si_sdr_8_16k"], clean[c], x[c], rate)["si_sdr_8_16k"].value for x in (noisy, speech)
        ]
        assert scores[1] > scores[0] + 6
        kept = level(band(speech[c], rate, 8500, 15000)) - level(band(clean[c], rate, 8500, 15000))
        assert -2 < kept < 1
        assert level(band(narrow[c], rate, 8500, 15000)) < level(band(clean[c], rate, 8500, 15000)) - 15
        # The low band is the same; only how much of its noise stays is measured without the high band.
        difference = band(speech[c] - narrow[c], rate, 0, 7000)
        assert level(difference) < level(band(clean[c], rate, 0, 7000)) - 45


def test_clean_speech_comes_through(enhancer):
    clean = fricatives(48000)
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
    noisy = fricatives(96000) + 0.01 * rng.standard_normal(192000)
    speech = enhancer.enhance(noisy, 96000)
    assert level(band(speech, 96000, 26000)) < level(band(noisy, 96000, 26000)) - 10


def test_16_khz_loads_nothing_and_gives_the_same_bits(monkeypatch):
    def unwanted(*_: object) -> None:
        raise AssertionError("the decoder of the high band was loaded")

    monkeypatch.setattr("vae_se.enhancement.enhancer.load_high_band", unwanted)
    for rate in (8000, 16000):
        noisy = noisy_like(1.0, rate)
        found = [
            Enhancer.from_pretrained(**QUICK, output__band=name).enhance(noisy, rate) for name in ("full", "8k")
        ]
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("samples", [1, 50, 3000])
def test_short_silent_and_clipped_recordings(enhancer, samples):
    x = fricatives(48000)[:samples]
    for noisy in (x, np.zeros(samples), np.clip(100 * x, -1, 1), (32767 * np.clip(x, -1, 1)).astype(np.int16)):
        speech = enhancer.enhance(noisy, 48000)
        assert speech.shape == noisy.shape
        assert speech.dtype == noisy.dtype
        assert np.isfinite(speech).all()
        if not noisy.any():
            assert not speech.any()


def test_level_of_the_recording_makes_no_difference(enhancer):
    noisy = fricatives(48000)[:48000] + 0.003 * np.random.default_rng(0).standard_normal(48000)
    speech, quiet = enhancer.enhance(noisy, 48000), enhancer.enhance(1e-4 * noisy, 48000)
    np.testing.assert_allclose(1e4 * quiet, speech, atol=2e-3 * np.abs(speech).max())


def test_segments_are_cross_faded(tiny_prior):
    options = QUICK | {"inference__iterations": 1}
    noisy = fricatives(48000) + 0.003 * np.random.default_rng(0).standard_normal(96000)
    cut = Enhancer.from_pretrained(
        tiny_prior, **options, inference__segment=0.8, inference__overlap=0.2
    ).enhance(noisy, 48000)
    assert np.isfinite(cut).all()
    # No frame is lost or counted twice: noise at full dryness is the recording.
    dry = Enhancer.from_pretrained(
        tiny_prior, **options, inference__segment=0.8, inference__overlap=0.2, output__dry=1.0
    ).enhance(noisy, 48000)
    np.testing.assert_allclose(dry, noisy, atol=1e-5)


def test_noise_and_speech_sum_to_the_recording(enhancer):
    noisy = fricatives(44100) + 0.003 * np.random.default_rng(0).standard_normal(88200)
    bare = Enhancer(Config().override({**{k.replace("__", "."): v for k, v in QUICK.items() if "__" in k},
                                       "output.floor_db": np.inf}), enhancer.prior, enhancer.device, 1)  # fmt: skip
    speech, info = bare.enhance(noisy, 44100, return_info=True)
    np.testing.assert_allclose(speech + info.noise, noisy, atol=1e-6)


def test_an_unknown_band_is_refused():
    with pytest.raises(UsageError, match=r"output\.band"):
        Enhancer.from_pretrained(**QUICK, output__band="12k")


def test_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path):
    with pytest.raises(PriorError, match="high band"):
        store.load_high_band(folder=tmp_path)
    decoder = HighBandDecoder(context=1, hidden=8)
    store.save_high_band(decoder, tmp_path)
    loaded = store.load_high_band(folder=tmp_path)
    low = torch.rand(5, LOW_BANDS)
    torch.testing.assert_close(loaded(low), decoder(low), atol=1e-2, rtol=1e-2)
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
