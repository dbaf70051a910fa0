"""The pool of simulated noise, and mixtures drawn from it."""

import numpy as np
import pytest
import torch

from tests.toys import SIGNAL, tiny_prior
from vae_se.audio.level import active_rms
from vae_se.data.waveforms import Waveforms, draw_cut
from vae_se.errors import OutputError, UsageError
from vae_se.noisy_encoder.simulation.pool import Pool, class_of, draw_item, draw_pool, open_pool
from vae_se.training.pool_mixtures import MixtureSettings, PoolMixtures, _filtered

WEIGHTS = {"typing": 1.0, "engine": 2.0, "model": 1.0}
SETTINGS = {"prior": "default", "items": 10, "seconds": 2.0, "weights": WEIGHTS}
PLAIN = MixtureSettings(
    clean=0, pause=0, talkers=0, crowd=0, layers=(1, 0, 0), reverse=0, speed=0, colour=0, swell=0, noise_room=0,
    speech_room=0, microphone=0, band=0, clip=0, quantise=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    return folder, draw_pool(folder, processes=2, seed=3, **SETTINGS)


@pytest.mark.slow
def test_items_are_of_unit_power_and_a_function_of_seed_and_number(drawn):
    _, pool = drawn
    assert (len(pool), pool.samples.shape, pool.rate, pool.seed) == (10, (10, 32000), 16000, 3)
    for i, name in enumerate(pool.names):
        assert name == class_of(3, i, WEIGHTS)
        item = pool.cut(i, 0, 32000)
        assert np.mean(item**2) == pytest.approx(1, rel=1e-3)
        if name != "model":
            expected = draw_item(3, i, name, 32000, 16000, None)
            np.testing.assert_allclose(item, expected, atol=1.01 * pool.scales[i])


@pytest.mark.slow
def test_the_number_of_processes_makes_no_difference(drawn, tmp_path):
    folder, _ = drawn
    draw_pool(tmp_path, processes=1, seed=3, **SETTINGS)
    assert (tmp_path / "samples.int16").read_bytes() == (folder / "samples.int16").read_bytes()


def test_a_pool_is_opened_again_and_never_mistaken_for_another(drawn, tmp_path):
    folder, pool = drawn
    again = draw_pool(folder, seed=3, **SETTINGS)
    assert np.array_equal(again.samples, pool.samples)
    with pytest.raises(OutputError, match="another pool"):
        draw_pool(folder, seed=4, **SETTINGS)
    with pytest.raises(UsageError, match="no pool"):
        open_pool(tmp_path)


def test_classes_are_drawn_by_weight():
    names = [class_of(0, i, WEIGHTS) for i in range(2000)]
    assert names.count("engine") / 2000 == pytest.approx(0.5, abs=0.04)


def toy_pool(items=6, length=5000):
    random = np.random.default_rng(0)
    samples = random.integers(-3000, 3000, (items, length)).astype(np.int16)
    scales = 1 / np.sqrt((samples.astype(float) ** 2).mean(1))
    return Pool(samples, scales.astype(np.float32), tuple("aabbcc"[:items]), 16000, 0)


def test_cuts_wrap_around_and_classes_can_be_left_out():
    pool = toy_pool()
    cut = pool.cut(1, 4000, 11000) / pool.scales[1]
    expected = np.take(pool.samples[1], np.arange(4000, 15000), mode="wrap")
    np.testing.assert_allclose(cut, expected, rtol=1e-5)
    less = pool.without("a", "c")
    assert less.names == ("b", "b")
    assert np.array_equal(less.samples, pool.samples[2:4])


def test_the_last_items_are_held_out():
    pool = toy_pool()
    train, valid = pool.split(0.05)
    assert (train.names, valid.names) == (tuple("aabbc"), ("c",))
    assert np.array_equal(np.concatenate([train.samples, valid.samples]), pool.samples)
    assert np.shares_memory(train.samples, pool.samples)  # a pool may be larger than the memory
    assert train.counts() == {"a": 2, "b": 2, "c": 1}
    with pytest.raises(UsageError, match="a pool of 1 noises"):
        valid.split(0.05)


def source(settings=None, seconds=0.6):
    random = np.random.default_rng(1)
    waves = []
    for loud in (2000, 5000):
        samples = (loud * random.standard_normal(40000)).clip(-32000, 32000).astype(np.int16)
        waves.append((Waveforms(samples, np.array([0]), np.array([1 / loud], np.float32)), 1.0))
    return PoolMixtures(waves, toy_pool(length=9000), tiny_prior(), seconds, settings or MixtureSettings())


def test_a_step_is_a_function_of_its_numbers():
    mixtures = source()
    first = mixtures.draw(0, "train", 5, 3)
    mixtures.draw(0, "train", 6, 3)
    again, more = mixtures.draw(0, "train", 5, 3), mixtures.draw(0, "train", 5, 4)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.speech, more.speech[:3])  # row by row
    assert not torch.equal(first.noise, mixtures.draw(1, "train", 5, 3).noise)


def test_mixtures_have_the_active_level_and_any_treatment_is_finite():
    everything = MixtureSettings(
        pause=1, talkers=0.5, crowd=0.5, reverse=1, speed=1, colour=1, swell=1, noise_room=1, speech_room=1,
        microphone=1, band=1, clip=1, quantise=1,
    )  # fmt: skip
    for settings in (everything, PLAIN, MixtureSettings()):
        for i in range(6):
            speech, noise = source(settings).draw_one(np.random.default_rng(i))
            assert speech.shape == noise.shape == (9600,)
            assert np.isfinite(speech + noise).all()
            assert active_rms(speech + noise, SIGNAL.rate) == pytest.approx(SIGNAL.active_rms, rel=1e-3)


def test_plain_mixtures_are_speech_plus_noise_at_their_snr():
    ratios = []
    for i in range(300):
        speech, noise = source(PLAIN, 0.3).draw_one(np.random.default_rng(i))
        ratios.append(10 * np.log10(np.mean(speech**2) / np.mean(noise**2)))
    assert -9 < min(ratios) < -6
    assert 20 < max(ratios) < 23
    assert np.mean(ratios) == pytest.approx(7, abs=1.5)


def test_cuts_come_from_each_corpus_by_its_weight():
    quiet, loud = (
        Waveforms(np.full(500, value, np.int16), np.array([0]), np.ones(1, np.float32)) for value in (1, 9)
    )
    random = np.random.default_rng(0)
    cuts = [draw_cut([(quiet, 3.0), (loud, 1.0)], 5, random) for _ in range(2000)]
    assert {cut.size for cut in cuts} == {5}
    assert np.mean([cut[0] == 9 for cut in cuts]) == pytest.approx(0.25, abs=0.03)


def test_a_change_of_speed_moves_pitch():
    t = np.arange(8000) / 16000
    slow = _filtered(np.sin(2 * np.pi * 1000 * t).astype(np.float32), np.zeros(5), None, 10000)
    assert slow.size == 10000
    assert np.abs(np.fft.rfft(slow, 16000)).argmax() == pytest.approx(800, abs=2)
    assert np.abs(slow).max() == pytest.approx(1, abs=0.02)
