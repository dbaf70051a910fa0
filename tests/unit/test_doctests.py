"""The examples in docstrings."""

import doctest
import importlib

import pytest
import torch

MODULES = [
    "vae_se.blocks",
    "vae_se.inference.convergence",
    "vae_se.inference.draws",
    "vae_se.inference.em",
    "vae_se.inference.estep.gradient",
    "vae_se.inference.estep.langevin",
    "vae_se.inference.estep.proposal",
    "vae_se.inference.estep.step_size",
    "vae_se.inference.estep.vem_full",
    "vae_se.inference.estep.vem_mh",
    "vae_se.inference.speech_presence",
    "vae_se.likelihood",
    "vae_se.registry",
    "vae_se.rng",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    with torch.random.fork_rng(devices=[]):
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
