"""The cheaper form of the decoder: as near as asked, and nothing else of the prior changes."""

import copy

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.enhancement.enhancer import Enhancer
from vae_se.priors import load_prior


@pytest.fixture(scope="module")
def prior():
    return load_prior("default")


@pytest.mark.parametrize("error", [0.02, 0.03, 0.2])
def test_error_is_what_was_asked_for(prior, error):
    compressed = copy.deepcopy(prior)
    rank = compressed.compress(error)
    z = torch.randn(3000, prior.latent_dim, generator=torch.Generator().manual_seed(8))
    found = (compressed.decode(z) - prior.decode(z)).square().mean().sqrt()
    assert 0.7 * error < found < 1.1 * error
    # The mean of the decoder's output does not change: there is no bias in any bin.
    assert (compressed.decode(z) - prior.decode(z)).mean(0).abs().max() < error
    assert compressed.thin_in.shape == (rank, prior.hidden[-1])


def test_nothing_happens_where_it_does_not_pay(prior):
    same = copy.deepcopy(prior)
    assert same.compress(1e-4) is None
    z = torch.randn(5, prior.latent_dim)
    assert torch.equal(same.decode(z), prior.decode(z))


def test_what_is_saved_and_the_encoder_stay(prior):
    compressed = copy.deepcopy(prior)
    compressed.compress(0.03)
    before, after = prior.state_dict(), compressed.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    power = torch.rand(1, 3, prior.signal.stft.bins)
    assert torch.equal(prior.encode(power).mean, compressed.encode(power).mean)


def test_the_result_is_nearly_the_same():
    noisy = noisy_like(2.0)
    cheap, full = (
        Enhancer.from_pretrained(device="cpu", inference__iterations=10, inference__decoder_error=error)
        for error in (0.03, 0.0)
    )
    assert full.prior.thin_in is None
    assert cheap.prior.thin_in is not None
    one, other = (enhancer.enhance(noisy, 16000) for enhancer in (cheap, full))
    assert np.sum((one - other) ** 2) < 1e-2 * np.sum(other**2)
