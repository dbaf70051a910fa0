"""The adaptive proposal: exact with an encoder that is far off; broken variants must fail."""

import pytest
import torch

from tests.statistical.test_samplers import BAND, deviations
from tests.toys import LinearPrior, linear_target
from vae_se.inference.draws import Draws
from vae_se.inference.estep import ESTEPS
from vae_se.inference.estep.proposal import Proposal, flattened
from vae_se.priors import GaussianPosterior
from vae_se.rng import Streams

KERNELS = {"encoder-is": {"draws": 200}, "encoder-mh": {"draws": 32, "sweeps": 8, "adaptation": 40}}


@pytest.fixture
def astray(monkeypatch):
    """An encoder that misses the posterior by about four of its standard deviations, and is too narrow."""

    def encode(self, power):
        mean = torch.full((*power.shape[:2], self.latent_dim), 1.5, dtype=power.dtype)
        return GaussianPosterior(mean, torch.full_like(mean, -2.0))

    monkeypatch.setattr(LinearPrior, "encode", encode)


def effective(kernel, steps):
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    state, found = kernel.init(target, target.power, streams), []
    for _ in range(steps):
        state, info = kernel.step(target, state, streams)
        found.append(info.ess.item())
    return found


@pytest.mark.parametrize("name", KERNELS)
def test_moments_are_right_with_an_encoder_that_misses_the_posterior(astray, name):
    bias, spread = deviations(ESTEPS[name](**KERNELS[name]))
    assert bias < BAND[0]
    assert spread < BAND[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_mutation_density_of_one_component_in_place_of_the_mixture(astray, monkeypatch, name):
    monkeypatch.setattr(Proposal, "log_prob", lambda self, z: self.learnt.log_prob(z))
    bias, spread = deviations(ESTEPS[name](**KERNELS[name]))
    assert bias > BAND[0] or spread > BAND[1]


def test_the_proposal_finds_the_posterior_from_few_draws(astray, monkeypatch):
    learnt = effective(ESTEPS["encoder-is"](draws=16), 60)
    assert sum(learnt[-20:]) / 20 > 9
    monkeypatch.setattr(Proposal, "learn", lambda self, *_: self)
    fixed = effective(ESTEPS["encoder-is"](draws=16), 60)
    assert sum(fixed[-20:]) / 20 < 5


def test_the_proposal_of_the_chains_is_frozen_after_adaptation():
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS["encoder-mh"](adaptation=3)
    state = kernel.init(target, target.power, streams)
    seen = []
    for _ in range(5):
        state, _ = kernel.step(target, state, streams)
        seen.append(state.proposal)
    assert not torch.equal(seen[1].learnt.mean, seen[2].learnt.mean)
    assert seen[2] is seen[3] is seen[4]


def test_the_density_is_that_of_the_draws():
    """The mean of p / q over draws of q is the integral of p."""
    wide = GaussianPosterior(torch.zeros(1, 1, 1).double(), torch.ones(1, 1, 1).double())
    other = GaussianPosterior(torch.full((1, 1, 1), 2.0).double(), torch.zeros(1, 1, 1).double())
    streams = Streams([torch.Generator().manual_seed(0)], [1])
    z, log_q = Proposal(wide, other).draw(200_000, streams)
    inside = GaussianPosterior(torch.ones(1, 1, 1).double(), torch.zeros(1, 1, 1).double())
    assert (inside.log_prob(z) - log_q).exp().mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e4])
def test_flattened_weights_have_the_effective_sample_size_and_no_more(scale):
    log_weight = scale * torch.randn(2, 16, 30, generator=torch.Generator().manual_seed(0)).double()
    weight = flattened(log_weight, 4.0)
    torch.testing.assert_close(weight.sum(1), torch.ones(2, 30).double())
    number = 1 / weight.square().sum(1)
    assert (number >= 4 - 1e-9).all()
    plain = Draws.weighted(torch.zeros(2, 16, 30, 1), log_weight, torch.zeros(())).effective_sample_size()
    untouched = plain >= 4
    torch.testing.assert_close(
        weight.permute(0, 2, 1)[untouched], log_weight.softmax(1).permute(0, 2, 1)[untouched]
    )
    if scale == 3.0:
        assert number[~untouched].max() < 4.1
