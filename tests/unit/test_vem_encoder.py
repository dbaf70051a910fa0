"""Fine-tuning the encoders of a batch, compared with one deep copy at a time and torch's own Adam."""

import copy

import pytest
import torch

from tests.toys import model_power, small_prior, tiny_prior
from vae_se.inference.estep import ESTEPS
from vae_se.inference.target import Target
from vae_se.likelihood import complex_gaussian_log_prob, gaussian_kl
from vae_se.priors import GaussianPosterior
from vae_se.priors.gamma_vae import GammaVAE
from vae_se.rng import Streams

LENGTHS = (9, 5)


def target(prior):
    power = model_power(prior, 2, 9)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).double()
    power = power * mask.unsqueeze(-1) + 1e-8
    return Target(prior, power, torch.full_like(power, 0.1), 1.2 * torch.ones_like(mask), mask)


def gaussian(prior, power):
    """q: the Gaussian with the moments of the encoder's posterior."""
    posterior = prior.encode(power)
    return GaussianPosterior(posterior.mean, posterior.log_variance)


def divergence(prior, q, z):
    """KL(q || p(z)) per frame; where p(z) is not N(0, I), with log p(z) at the draws and the entropy of q."""
    if isinstance(prior, GammaVAE):
        entropy = torch.distributions.Normal(q.mean, (0.5 * q.log_variance).exp()).entropy().sum(-1)
        return -entropy - prior.log_prior(z).mean(1)
    return gaussian_kl(q.mean, q.log_variance)


def by_one_copy(prior, whole, row, steps, rate, draws):
    """Reference: the objective, differentiated by autograd from end to end."""
    n = LENGTHS[row]
    mine = copy.deepcopy(prior).requires_grad_()
    optimiser = torch.optim.Adam(mine.encoder_parameters(), lr=rate, betas=(0.9, 0.99))
    streams = Streams.from_seed(0, [row], [n])
    power = whole.power[row : row + 1, :n]
    gaussian(mine, power).rsample(draws, streams)  # the draws of init
    bounds = []
    for _ in range(steps):
        q = gaussian(mine, power)
        z, _ = q.rsample(draws, streams)
        variance = 1.2 * mine.decode(z).exp() + 0.1
        value = complex_gaussian_log_prob(power.unsqueeze(1), variance.log()).sum(-1).mean(1)
        bound = (value - divergence(mine, q, z)).mean()
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
        bounds.append(bound.item())
    return mine, bounds


@pytest.mark.parametrize("architecture", ["ffvae", "gamma-vae"])
def test_equals_one_deep_copy_at_a_time_and_leaves_the_shared_encoder(architecture):
    prior = tiny_prior(dtype=torch.float64) if architecture == "ffvae" else small_prior(architecture)
    before = copy.deepcopy(prior.state_dict())
    whole = target(prior)
    kernel = ESTEPS["vem-encoder"](draws=3, learning_rate=0.01)
    streams = Streams.from_seed(0, [0, 1], LENGTHS)
    with torch.no_grad():
        state = kernel.init(whole, whole.power, streams)
        objectives = []
        for _ in range(5):
            state, info = kernel.step(whole, state, streams)
            objectives.append(info.objective)
    for row in range(2):
        mine, bounds = by_one_copy(prior, whole, row, 5, 0.01, 3)
        expected = dict(mine.named_parameters())
        for name, adam in state.adam.items():
            torch.testing.assert_close(adam.parameters[row], expected[name].detach(), rtol=1e-6, atol=1e-9)
            assert not torch.equal(adam.parameters[row], before[name])
        torch.testing.assert_close(torch.stack(objectives)[:, row], torch.tensor(bounds, dtype=torch.float64))
    assert len(state.adam) == len(list(prior.encoder_parameters()))
    assert all(torch.equal(before[name], t) for name, t in prior.state_dict().items())


@pytest.mark.parametrize("architecture", ["ffvae", "gamma-vae", "flow-vae"])
def test_the_objective_is_the_evidence_lower_bound_under_the_prior_s_own_density(architecture):
    """E_q[log p(x, z) - log q(z)] by many draws, with the densities of prior and posterior."""
    prior = small_prior(architecture)
    whole = target(prior)
    kernel = ESTEPS["vem-encoder"](draws=2000, learning_rate=1e-9)
    with torch.no_grad():
        state = kernel.init(whole, whole.power, Streams.from_seed(0, [0, 1], LENGTHS))
        _, info = kernel.step(whole, state, Streams.from_seed(1, [0, 1], LENGTHS))
        q = gaussian(prior, whole.power)
        z, log_q = q.rsample(4000, Streams.from_seed(2, [0, 1], LENGTHS))
        bound = whole.log_likelihood(prior.decode(z)) + prior.log_prior(z) - log_q
    share = whole.mask / whole.mask.sum(-1, keepdim=True)
    mean = (bound.mean(1) * share).sum(-1)
    error = ((bound.var(1) / 4000 * share**2).sum(-1) * (1 + 4000 / 2000)).sqrt()
    assert ((info.objective - mean).abs() < 4 * error).all()
