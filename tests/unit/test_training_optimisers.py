"""Muon, several optimisers as one, and the moving average of weights."""

import copy

import pytest
import torch

from vae_se.training.averaged import Averaged
from vae_se.training.muon import Muon, orthogonal_factor
from vae_se.training.optimisers import muon_and_adamw


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_muon_steps_have_equal_singular_values(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal_factor(matrix, 8))
    assert 0.6 < values.min() < values.max() < 1.3


def test_matrices_of_one_shape_are_orthogonalised_as_one_by_one():
    matrices = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(2))
    matrices[1] *= 100
    single = torch.stack([orthogonal_factor(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonal_factor(matrices), single)


def test_muon_descends():
    target = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    weight = torch.nn.Parameter(torch.zeros(5, 7))
    optimiser = Muon([weight], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (weight - target).square().sum()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05 * float(target.square().sum())


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(12, 3))


def train(model, optimiser, steps):
    for step in range(steps):
        optimiser.zero_grad()
        data = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(step))
        model(data).square().sum().backward()
        optimiser.step()


def test_every_parameter_has_one_optimiser_and_all_of_them_move():
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimiser = muon_and_adamw(model, 0.01)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    assert sorted(map(id, parameters)) == sorted(map(id, model.parameters()))
    train(model, optimiser, 1)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_their_state_continues_a_training():
    half = network()
    first = muon_and_adamw(half, 0.01)
    train(half, first, 1)
    other = network(1)
    other.load_state_dict(half.state_dict())
    second = muon_and_adamw(other, 0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(half, first, 3)
    train(other, second, 3)
    for a, b in zip(half.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_average_is_that_of_a_slow_loop():
    both, decay = Averaged(network()), 0.7
    expected = both.model[2].weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            both.model[2].weight.add_(0.1 * step)
        both.update(step, decay)
        weight = min(decay, (1 + step) / (10 + step))
        expected = weight * expected + (1 - weight) * both.model[2].weight.detach()
    torch.testing.assert_close(both.average[2].weight, expected)
    assert not any(p.requires_grad for p in both.average.parameters())


def test_an_average_without_memory_is_the_model():
    both = Averaged(network())
    with torch.no_grad():
        both.model[2].weight.add_(1.0)
    both.update(1, 0.0)
    assert torch.equal(both.average[2].weight, both.model[2].weight)
