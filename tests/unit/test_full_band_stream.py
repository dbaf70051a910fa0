"""Streams of more than 16 kHz keep what lies above 8 kHz, as files do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from tests.unit.test_full_band import band, level, like, wide
from vae_se.audio.resample import resample
from vae_se.config import Config
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.live import LiveEnhancer
from vae_se.enhancement.online import OnlineEnhancer
from vae_se.high_band.bands import HIGH_BANDS, triangles
from vae_se.high_band.em import HighBandEM
from vae_se.high_band.running_em import RunningHighBandEM

QUICK = {"inference__iterations": 1, "inference__averaging": 1, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained(**QUICK)


@pytest.fixture(scope="module")
def caller():
    """With the causal noisy encoder of calls."""
    changed = {key.replace("__", "."): value for key, value in QUICK.items() if "__" in key}
    config = Config().override({**LiveEnhancer.settings, **changed})
    return LiveEnhancer.from_pretrained(16000, config=config, threads=1).enhancer


@pytest.fixture(scope="module")
def low_band(enhancer):
    return like(enhancer, output__band="8k")


def streamed(enhancer, sound, rate, sizes=(4000,)):
    """``sound`` pushed in parts whose sizes are cycled through."""
    sound = sound.astype(np.float32)
    online = OnlineEnhancer(enhancer, rate, 1 if sound.ndim == 1 else len(sound))
    out, start, turn = [], 0, 0
    while start < sound.shape[-1]:
        size = sizes[turn % len(sizes)]
        out.append(np.atleast_2d(online.push(sound[..., start : start + size])))
        start, turn = start + size, turn + 1
    return np.concatenate([*out, online.flush()], 1).reshape(sound.shape)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_where_all_noise_stays_nothing_changes(enhancer, rate):
    """The two bands sum to the stream: clean speech and a tone at 12 kHz pass."""
    sound = wide(rate, 1.0)
    sound += 0.1 * np.std(sound) * np.sin(2 * np.pi * 12000 / rate * np.arange(rate))
    speech = streamed(like(enhancer, output__dry=1.0), sound, rate)
    inner = slice(2000, -2000)  # at the ends the resampling filter meets zeros
    np.testing.assert_allclose(speech[inner], sound[inner], atol=2e-4 * np.abs(sound).max())


@pytest.mark.slow
def test_clean_speech_passes_and_a_hiss_goes(enhancer, low_band):
    clean = wide(48000)
    noisy = clean + 0.02 * np.std(clean) * np.random.default_rng(0).standard_normal(clean.size)
    above = [level(band(x, 48000, 8500, 15000)) for x in (clean, streamed(enhancer, clean, 48000))]
    assert above[1] > above[0] - 2.5  # of recorded voices it keeps all but 0.2 dB
    late = slice(48000, 90000)
    speech, narrow = (streamed(one, noisy, 48000) for one in (enhancer, low_band))
    errors = [level(band((x - clean)[late], 48000, 8500, 15000)) for x in (noisy, speech)]
    assert errors[1] < errors[0] - 4
    assert level(band(narrow[late], 48000, 8500, 15000)) < errors[0] - 8


def test_parts_of_any_size_make_no_difference(enhancer):
    sound = np.stack([wide(44100, 0.9), 0.1 * noisy_like(0.9, 44100)])
    whole = streamed(enhancer, sound, 44100, [sound.shape[1]])
    np.testing.assert_array_equal(streamed(enhancer, sound, 44100, [1, 700, 0, 1, 13000]), whole)
    # Channels do not influence each other.
    np.testing.assert_array_equal(streamed(enhancer, sound[0], 44100), whole[0])


def test_no_more_is_held_back_than_the_latency(enhancer):
    online, sound = OnlineEnhancer(enhancer, 48000), wide(48000, 1.2).astype(np.float32)
    given = np.cumsum([online.push(sound[i : i + 480]).size for i in range(0, sound.size, 480)])
    came = np.arange(480, sound.size + 480, 480)
    assert (given >= came - round((online.latency + 0.056) * 48000) - 480).all()


def test_16_khz_does_not_change_by_a_bit(enhancer, low_band):
    noisy = noisy_like(1.0)
    np.testing.assert_array_equal(streamed(enhancer, noisy, 16000), streamed(low_band, noisy, 16000))


def test_up_sampled_phone_speech_stays_empty_above(enhancer):
    noisy = resample(noisy_like(1.5), 16000, 48000)
    speech = streamed(enhancer, noisy, 48000)
    assert level(band(np.hanning(noisy.size) * speech, 48000, 8500)) < -150


@pytest.mark.parametrize("samples", [0, 1, 50, 3000])
def test_short_silent_and_clipped_streams(enhancer, samples):
    x = wide(48000)[20000 : 20000 + samples]
    for noisy in (x, np.zeros(samples), np.clip(100 * x, -1, 1)):
        speech = streamed(enhancer, noisy, 48000)
        assert speech.shape == noisy.shape
        assert np.isfinite(speech).all()
        if not noisy.any():
            assert not speech.any()


def test_silence_before_the_sound_changes_little(enhancer):
    sound = wide(48000, 1.0) + 0.002 * np.random.default_rng(0).standard_normal(48000)
    late = streamed(enhancer, np.concatenate([np.zeros(48000), sound]), 48000)
    assert not late[:40000].any()
    assert np.isfinite(late).all()
    assert late[48000:].any()


def blocks(em, power, eta, size=16):
    """The filters (N, F) of blocks of ``size`` frames."""
    empty = torch.zeros(len(power), 0)
    parts = [slice(i, i + size) for i in range(0, len(power), size)]
    return torch.cat([em.filter(power[part], eta[part], empty[part], 1.0) for part in parts])


def test_blocks_find_the_noise_that_the_whole_finds():
    """Data drawn from the model, steady noise: from the second second on the filter is that of the truth."""
    generator = torch.Generator().manual_seed(0)
    weights = triangles(np.linspace(8000, 24000, 256))
    gate = torch.rand(256, 1, generator=generator) < 0.4
    eta = torch.where(gate, 2.0, -6.0) + torch.zeros(256, HIGH_BANDS)
    speech, noise = eta.exp() @ weights, torch.full((256, 256), 0.5)
    parts = torch.randn(2, 2, 256, 256, generator=generator)
    s, b = torch.complex(*parts[0]) * (speech / 2).sqrt(), torch.complex(*parts[1]) * (noise / 2).sqrt()
    wiener = blocks(RunningHighBandEM(HighBandEM(), weights), (s + b).abs().square(), eta)

    def error(mask):
        return float(10 * torch.log10((mask * (s + b) - s)[64:].abs().square().mean()))

    assert error(wiener) < error(speech / (speech + noise)) + 1


def test_noise_that_begins_after_silence_is_found_again():
    """Digital silence leaves very quiet noise spectra behind, which must not keep later noise from its own."""
    generator, weights = torch.Generator().manual_seed(0), triangles(np.linspace(8000, 24000, 128))
    power = torch.rand(256, 128, generator=generator).log().neg() * 1e-3
    power[:96] = 0
    wiener = blocks(RunningHighBandEM(HighBandEM(), weights), power, torch.full((256, HIGH_BANDS), -10.0))
    assert wiener[160:].mean() < 0.1


@pytest.mark.parametrize(("rate", "latency"), [(48000, 0.064), (44100, 0.048), (48000, 0.304)])
def test_calls_keep_the_whole_band_within_their_latency(caller, rate, latency):
    """With all noise kept the output is the input, a tone at 12 kHz included, no later than promised."""
    sound = wide(rate, 0.7) + 0.01 * np.sin(2 * np.pi * 12000 / rate * np.arange(round(0.7 * rate)))
    live = LiveEnhancer(like(caller, output__dry=1.0), rate, latency=latency)
    parts = [live.push(sound[i : i + 441].astype(np.float32)) for i in range(0, sound.size, 441)]
    given, came = np.cumsum([part.size for part in parts]), np.arange(441, sound.size + 441, 441)
    assert (given >= came - round((live.latency + 0.1) * rate) - 441).all()
    out, inner = np.concatenate([*parts, live.flush()[0]]), slice(2000, -2000)
    np.testing.assert_allclose(out[inner], sound[inner], atol=2e-4 * np.abs(sound).max())


@pytest.mark.slow
def test_a_call_keeps_clean_speech_and_loses_the_hiss(caller):
    clean = wide(48000)
    noisy = clean + 0.02 * np.std(clean) * np.random.default_rng(0).standard_normal(clean.size)
    late, above = slice(48000, 90000), (48000, 8500, 15000)
    speech = [
        np.concatenate([live.push(x.astype(np.float32)), live.flush()[0]])
        for x in (clean, noisy)
        for live in [LiveEnhancer(caller, 48000)]
    ]
    assert level(band(speech[0][late], *above)) > level(band(clean[late], *above)) - 3
    assert level(band((speech[1] - clean)[late], *above)) < level(band((noisy - clean)[late], *above)) - 3
