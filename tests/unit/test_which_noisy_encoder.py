"""Which noisy encoder EM starts from, and how many iterations it takes from there."""

import pytest
import torch

from tests.toys import tiny_prior as toy
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.priors import load_prior
from vae_se.priors.store import locate


def test_the_network_of_the_default_prior_serves_another_one():
    em = build_em(Config(prior="ffvae"), load_prior("ffvae"))
    assert em.noisy_encoder is not None
    assert em.encoder_prior.latent_dim == 32
    assert em.prior.latent_dim == 16
    power = torch.rand(1, 7, 513)
    mask = torch.ones(1, 7)
    found = em.proposal_of(em.noisy_encoder(power, mask), power, mask)
    assert found.posterior.mean.shape == (1, 7, 16)


@pytest.mark.parametrize("name", ["default", "latent-rnn"])
def test_a_prior_with_the_same_latents_needs_no_detour(name):
    assert build_em(Config(prior=name), load_prior(name)).encoder_prior is None


def test_a_folder_of_the_default_prior_s_network_serves_another_one_too():
    folder = locate("default") / "noisy_encoder_causal"
    em = build_em(Config(prior="dkf").set(f"inference.noisy_encoder={folder}"), load_prior("dkf"))
    assert em.noisy_encoder.causal
    assert em.encoder_prior is not None


def test_another_signal_has_no_network():
    assert build_em(Config(prior="default"), toy()).noisy_encoder is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], (3, 2)),
        (["inference.iterations=7"], (7, 2)),
        (["inference.averaging=5"], (3, 5)),
        (["inference.noisy_encoder=none"], (10, 4)),
        (["estep.name=mh"], (10, 4)),
        (["estep.name=vem-full"], (10, 4)),
    ],
)
def test_iterations_unless_they_are_given(settings, expected):
    em = build_em(Config().set(*settings), load_prior("default"))
    assert (em.iterations, em.averaging) == expected
