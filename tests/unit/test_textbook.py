"""The plain textbook MCEM stays selectable by one name."""

import dataclasses

import numpy as np
import pytest

from vae_se import Enhancer
from vae_se.config import TEXTBOOK, Config, effective
from vae_se.inference.estep.mh import RandomWalkMH


def test_it_has_neither_a_noisy_encoder_nor_what_follows_from_one():
    enhancer = Enhancer.from_pretrained(device="cpu", method="mcem-textbook")
    em = enhancer.em
    assert em.noisy_encoder is None
    assert isinstance(em.estep, RandomWalkMH)
    assert (em.noise.rank, em.gain.kind, em.gain.concentration, em.encoder_floor) == (10, "frame", 0, 1)


def test_settings_that_are_given_stay():
    config = effective(Config(method="mcem-textbook").set("noise.rank=3", "inference.iterations=2"))
    assert (config.noise.rank, config.inference.iterations) == (3, 2)
    assert config.estep.name == "mh"


def test_other_methods_are_not_changed():
    for method in ("mcem", "log-mmse"):
        assert effective(Config(method=method)) == Config(method=method)


def test_every_value_is_in_range():
    assert dataclasses.replace(Config(), method="mcem-textbook").override(TEXTBOOK) is not None


@pytest.mark.parametrize("method", ["mcem-textbook"])
def test_it_runs(method):
    settings = {"inference__iterations": 2, "inference__averaging": 2}
    enhancer = Enhancer.from_pretrained(device="cpu", method=method, **settings)
    noisy = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    found = enhancer.enhance(noisy, 16000)
    assert found.shape == noisy.shape
    assert np.isfinite(found).all()
