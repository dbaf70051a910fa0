"""Registries, random streams, active level."""

import numpy as np
import pytest
import torch

from vae_se.audio.level import active_rms
from vae_se.errors import UsageError, nearest
from vae_se.registry import Registry
from vae_se.rng import Streams, derive, numpy_stream, torch_stream


def test_unknown_name_says_the_nearest():
    registry = Registry("noise model")
    registry.add("nmf")(1)
    registry.add("stationary")(2)
    assert registry["nmf"] == 1
    assert list(registry) == ["nmf", "stationary"]
    with pytest.raises(UsageError, match="unknown noise model 'stationry'") as caught:
        registry["stationry"]
    assert "stationary" in caught.value.hint
    with pytest.raises(ValueError, match="twice"):
        registry.add("nmf")
    assert nearest("x", []) == "there are none"


def test_names_make_streams():
    assert derive(0, "a", "b") != derive(0, "ab") != derive(1, "ab")
    assert derive(7, "x") == derive(7, "x") < 2**63
    assert numpy_stream(0, "a").random() == numpy_stream(0, "a").random()
    assert torch.equal(*(torch.rand(3, generator=torch_stream(0, "a")) for _ in range(2)))


def test_draws_do_not_depend_on_neighbours():
    together = Streams.from_seed(3, ["a", "b"], [4, 7]).normal(2, 3)
    alone = Streams.from_seed(3, ["b"], [7]).normal(2, 3)
    assert torch.equal(together[1], alone[0])
    assert (together[0, 4:] == 0).all()
    assert together.shape == (2, 7, 2, 3)


def test_streams_resume():
    streams = Streams.from_seed(0, ["a"], [5])
    saved = streams.state()
    first = streams.uniform(2)
    streams.restore(saved)
    assert torch.equal(first, streams.uniform(2))
    with pytest.raises(ValueError, match="generators"):
        Streams([torch.Generator()], [1, 2])


def test_active_level_ignores_pauses_and_scales():
    rng = np.random.default_rng(0)
    speech = rng.standard_normal(16000) * 0.1
    padded = np.concatenate([np.zeros(32000), speech, np.zeros(48000)])
    assert active_rms(speech, 16000) == pytest.approx(0.1, rel=0.05)
    assert active_rms(padded, 16000) == pytest.approx(0.1, rel=0.15)
    for scale in (1e-6, 1e-4, 1e4):
        assert active_rms(padded * scale, 16000) == pytest.approx(active_rms(padded, 16000) * scale, rel=1e-6)


def test_active_level_of_degenerate_sounds():
    assert active_rms(np.zeros(100), 16000) == 0.0
    assert active_rms(np.zeros(0), 16000) == 0.0
    for samples in (1, 2, 50):
        level = active_rms(np.full(samples, 0.5), 16000)
        assert np.isfinite(level)
        assert level > 0
    click = np.zeros(160000)
    click[80000] = 1.0
    assert 0 < active_rms(click, 16000) <= 1.0
