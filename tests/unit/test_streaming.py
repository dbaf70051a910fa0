"""Streams: the same whatever the parts, causal but for the look-ahead, as long as the input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import noisy_like
from vae_se.audio.level import active_rms
from vae_se.audio.running import RunningLevel
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.online import OnlineEnhancer
from vae_se.errors import AudioError, UsageError
from vae_se.inference.monte_carlo_em import MonteCarloEM
from vae_se.noise.continuation import fit_activations, shift_window, spectra_of, start_from_spectra
from vae_se.noise.multiplicative import NMFState, product

QUICK = {"inference__iterations": 2, "inference__averaging": 1, "output__floor_db": np.inf, "device": "cpu"}
SIZES = {"block": 0.128, "lookahead": 0.064, "context": 0.4}


@pytest.fixture(scope="module")
def enhancer(tiny_prior):
    return Enhancer.from_pretrained(tiny_prior, **QUICK)


def streamed(enhancer, sound, rate, sizes, **options):
    """``sound`` pushed in parts whose sizes are cycled through."""
    channels = 1 if sound.ndim == 1 else len(sound)
    online = OnlineEnhancer(enhancer, rate, channels, **(SIZES | options))
    out, start, turn = [], 0, 0
    while start < sound.shape[-1]:
        size = sizes[turn % len(sizes)]
        out.append(np.atleast_2d(online.push(sound[..., start : start + size])))
        start, turn = start + size, turn + 1
    out.append(online.flush())
    return np.concatenate(out, 1).reshape(sound.shape)


@pytest.mark.parametrize("rate", [16000, 11025])
def test_parts_of_any_size_make_no_difference(enhancer, rate):
    sound = noisy_like(1.0, rate).astype(np.float32)
    whole = streamed(enhancer, sound, rate, [sound.size])
    assert 0 < np.abs(whole).sum() < np.abs(sound).sum()

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sizes=st.lists(st.integers(1, 6000), min_size=1, max_size=4))
    def same(sizes):
        np.testing.assert_array_equal(streamed(enhancer, sound, rate, [max(40, s) for s in sizes]), whole)

    same()
    np.testing.assert_array_equal(streamed(enhancer, sound, rate, [1, 1, 1, 0, sound.size // 3]), whole)


@pytest.mark.parametrize("samples", [0, 1, 2, 255, 256, 1024, 2049, 5000])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_as_long_as_the_input(enhancer, rate, samples):
    sound = noisy_like(1.0, rate)[:samples].astype(np.float32)
    out = streamed(enhancer, sound, rate, [700])
    assert out.shape == sound.shape
    assert np.isfinite(out).all()


def test_the_future_beyond_the_latency_makes_no_difference(enhancer):
    sound = noisy_like(1.5).astype(np.float32)
    other = sound.copy()
    other[16000:] = noisy_like(1.0, seed=5)[:8000]
    online = OnlineEnhancer(enhancer, 16000, **SIZES)
    late = round(online.latency * 16000)
    one, two = (streamed(enhancer, x, 16000, [500]) for x in (sound, other))
    np.testing.assert_array_equal(one[: 16000 - late], two[: 16000 - late])
    assert np.abs(one - two)[16000 - late :].max() > 0
    # And no more is held back than that.
    given = np.cumsum([online.push(sound[i : i + 100]).size for i in range(0, sound.size, 100)])
    came = np.arange(100, sound.size + 100, 100)
    assert (given >= came - late - 100).all()


def test_where_the_filter_is_one_nothing_changes(enhancer, monkeypatch):
    """Analysis, sliding and synthesis leave no trace."""
    run = MonteCarloEM.run

    def halved(self, power, *given, **named):
        found = run(self, power, *given, **named)
        found.wiener.fill_(0.5)
        return found

    monkeypatch.setattr(MonteCarloEM, "run", halved)
    sound = noisy_like(1.3).astype(np.float32)
    out = streamed(enhancer, sound, 16000, [333])
    np.testing.assert_allclose(out, 0.5 * sound, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_level_passes_through(tiny_prior, scale):
    """In single precision: what bfloat16 rounds up may at another level be rounded down."""
    enhancer = Enhancer.from_pretrained(tiny_prior, **QUICK, inference__precision=None)
    sound = noisy_like(1.0).astype(np.float32)
    one = streamed(enhancer, sound, 16000, [4000])
    two = streamed(enhancer, (scale * sound).astype(np.float32), 16000, [4000]) / scale
    np.testing.assert_allclose(two, one, atol=5e-3 * np.abs(one).max())


def test_channels_and_silence(enhancer):
    sound = noisy_like(1.0).astype(np.float32)
    both = streamed(enhancer, np.stack([sound, 0 * sound]), 16000, [4000])
    np.testing.assert_array_equal(both[0], streamed(enhancer, sound, 16000, [4000]))
    assert not both[1].any()
    late = np.concatenate([np.zeros(8000, np.float32), sound])
    out = streamed(enhancer, late, 16000, [4000])
    assert np.isfinite(out).all()
    assert out[12000:].any()


def test_residue_and_known_level(enhancer, tiny_prior):
    sound = noisy_like(1.0).astype(np.float32)
    dry = Enhancer.from_pretrained(tiny_prior, **(QUICK | {"output__dry": 1.0}))
    np.testing.assert_allclose(streamed(dry, sound, 16000, [4000]), sound, atol=1e-5)
    level = active_rms(sound, 16000)
    running, known = (streamed(enhancer, sound, 16000, [4000], level=v) for v in (None, level))
    assert np.abs(running - known).max() > 0
    assert np.corrcoef(running, known)[0, 1] > 0.9


def test_wrong_arguments(enhancer, tiny_prior):
    online = OnlineEnhancer(enhancer, 16000)
    with pytest.raises(AudioError, match="NaN"):
        online.push(np.full(5, np.nan))
    for wrong in (np.zeros(5, np.int16), np.zeros((2, 5)), np.zeros((1, 2, 3)), 0.5):
        with pytest.raises(UsageError, match="samples of type"):
            online.push(wrong)
    online.flush()
    assert online.flush().shape == (1, 0)
    with pytest.raises(UsageError, match="has ended"):
        online.push(np.zeros(5))
    with pytest.raises(UsageError, match="a block of"):
        OnlineEnhancer(enhancer, 16000, block=0.001)
    with pytest.raises(UsageError, match="level"):
        OnlineEnhancer(enhancer, 16000, level=0.0)
    with pytest.raises(UsageError, match="channels"):
        OnlineEnhancer(enhancer, 16000, 0)
    with pytest.raises(UsageError, match="65535 channels"):
        OnlineEnhancer(enhancer, 16000, 65535)
    with pytest.raises(AudioError, match="rate of 5 Hz"):
        OnlineEnhancer(enhancer, 5)
    with pytest.raises(UsageError, match="log-mmse needs the whole recording"):
        OnlineEnhancer(Enhancer.from_pretrained(method="log-mmse"), 16000)
    noise = {"noise__name": "dictionary", "noise__noise_segment": "0-1"}
    with pytest.raises(UsageError, match="noise segment"):
        OnlineEnhancer(Enhancer.from_pretrained(tiny_prior, **QUICK, **noise), 16000)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_running_level_is_the_level(rate, scale):
    sound = scale * noisy_like(4.0, rate, snr_db=15)
    meter = RunningLevel(rate, memory=1e9)
    for start in range(0, sound.size, 777):
        meter.push(sound[start : start + 777])
    assert 20 * np.log10(meter.active_rms() / active_rms(sound, rate)) == pytest.approx(0, abs=0.05)


def test_running_level_forgets_and_keeps_what_lies_before_a_pause():
    meter = RunningLevel(16000, memory=5.0)
    assert meter.active_rms() == 0.0
    loud = noisy_like(4.0)
    meter.push(loud)
    before = meter.active_rms()
    meter.push(np.zeros(16000 * 5))
    assert meter.active_rms() == pytest.approx(before, rel=0.15)  # a pause is no speech
    for _ in range(15):
        meter.push(0.1 * loud)
    assert meter.active_rms() == pytest.approx(0.1 * before, rel=0.1)


def random_state(seed, frames=20, bins=33, rank=3):
    generator = torch.Generator().manual_seed(seed)
    w, h = (torch.rand(1, *shape, generator=generator) + 0.1 for shape in ((rank, bins), (frames, rank)))
    return NMFState(w / w.mean(-1, keepdim=True), h)


def test_noise_is_handed_on():
    before, state, mask = random_state(0), random_state(1), torch.ones(1, 20)
    # Activations are found again where the spectra are the right ones.
    found = NMFState(before.w, fit_activations(before.w, product(before), mask))
    ratio = product(before) / product(found)
    assert (ratio - ratio.log() - 1).mean() < 0.01
    followed = start_from_spectra(state, [spectra_of(before, 0)], mask)
    assert torch.equal(followed.w, before.w)
    assert product(followed).mean() == pytest.approx(product(state).mean().item(), rel=0.2)
    assert start_from_spectra(state, [None], mask) is state
    assert start_from_spectra("another model's", [None], mask) == "another model's"
    moved = shift_window(state, before, 5, 4.0, mask)
    assert torch.equal(moved.h[:, :15], 4 * before.h[:, 5:])
    assert torch.equal(moved.w, before.w)
    assert moved.h.shape == state.h.shape
