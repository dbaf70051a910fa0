"""Fine-tuning the encoders of a batch, compared with one deep copy at a time and torch's own Adam."""

import copy

import torch

from tests.toys import model_power, tiny_prior
from vae_se.inference.estep import ESTEPS
from vae_se.inference.target import Target
from vae_se.likelihood import complex_gaussian_log_prob, gaussian_kl
from vae_se.rng import Streams

LENGTHS = (9, 5)


def target(prior):
    power = model_power(prior, 2, 9)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).double()
    power = power * mask.unsqueeze(-1) + 1e-8
    return Target(prior, power, torch.full_like(power, 0.1), 1.2 * torch.ones_like(mask), mask)


def by_one_copy(prior, whole, row, steps, rate, draws):
    """Reference: the objective, differentiated by autograd from end to end."""
    n = LENGTHS[row]
    mine = copy.deepcopy(prior).requires_grad_()
    optimiser = torch.optim.Adam(mine.encoder_parameters(), lr=rate, betas=(0.9, 0.99))
    streams = Streams.from_seed(0, [row], [n])
    power = whole.power[row : row + 1, :n]
    posterior = mine.encode(power)
    posterior.rsample(draws, streams)  # the draws of init
    bounds = []
    for _ in range(steps):
        posterior = mine.encode(power)
        z, _ = posterior.rsample(draws, streams)
        variance = 1.2 * mine.decode(z).exp() + 0.1
        value = complex_gaussian_log_prob(power.unsqueeze(1), variance.log()).sum(-1).mean(1)
        bound = (value - gaussian_kl(posterior.mean, posterior.log_variance)).mean()
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
        bounds.append(bound.item())
    return mine, bounds


def test_equals_one_deep_copy_at_a_time_and_leaves_the_shared_encoder():
    prior = tiny_prior(dtype=torch.float64)
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
