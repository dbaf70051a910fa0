"""Penalties on the activations of noise: descent, a slow minimisation, and selection of the rank."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from vae_se.noise.activation_penalty import ActivationPenalty
from vae_se.noise.multiplicative import NMFState, draw_weight, product
from vae_se.noise.nmf import NMF
from vae_se.rng import Streams

PENALTIES = [
    ActivationPenalty(sparsity=3.0),
    ActivationPenalty(smoothness=2.0),
    ActivationPenalty(relevance=5.0),
    ActivationPenalty(2.0, 1.5, 3.0),
]


@pytest.fixture(params=[1e-6, 1.0, 1e6], ids=["quiet", "unit", "loud"])
def case(request):
    """Power, two draws of speech, equal weights, a mask that ends early, an NMF state."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.05

    scale = request.param
    mask = (torch.arange(8) < torch.tensor([[8], [5]])).double()
    weight = draw_weight(torch.full((2, 2, 8), math.log(0.5)).double(), mask)
    w = random(2, 3, 6)
    state = NMFState(w / w.mean(-1, keepdim=True), scale * random(2, 8, 3) * mask.unsqueeze(-1))
    return state, scale * random(2, 8, 6) * 3, scale * random(2, 2, 8, 6), weight, mask


def likelihood_cost(state, power, speech, weight):
    v = speech + product(state).unsqueeze(1)
    return (weight * (power.unsqueeze(1) / v + v.log())).sum((1, 2, 3))


@pytest.mark.parametrize("penalty", PENALTIES, ids=["sparse", "smooth", "relevant", "all"])
def test_penalised_activations_lower_the_penalised_cost(case, penalty):
    state, power, speech, weight, mask = case
    costs = []
    for _ in range(60):
        held = penalty.cost(state.h, power, mask)
        costs.append(likelihood_cost(state, power, speech, weight) + held)
        state = NMFState(state.w, penalty.update_h(state, power, speech, weight, mask))
    costs = torch.stack(costs)
    assert (costs.diff(dim=0) <= 1e-9).all()
    assert (costs[-1] < costs[0] - 0.1).all()


def test_smooth_activations_match_a_slow_minimisation(case):
    """Minimise the majoriser coordinate by coordinate with a numerical search."""
    state, power, speech, weight, mask = case
    penalty = ActivationPenalty(smoothness=2.0, sparsity=1.0)
    new = penalty.update_h(state, power, speech, weight, mask)
    scale = float(power[0].mean())
    v = speech[0, :, :8] + product(state)[0].unsqueeze(0)
    above = (0.5 * power[0] / v.square()).sum(0) @ state.w[0].T
    below = (0.5 / v).sum(0) @ state.w[0].T
    old, h = state.h[0].numpy(), state.h[0].numpy().copy()
    for parity in (0, 1):
        for n in range(parity, 8, 2):
            for k in range(3):

                def cost(u, n=n, k=k):
                    x = scale * math.exp(u)
                    value = float(above[n, k]) * old[n, k] ** 2 / x + float(below[n, k]) * x + x / scale
                    for a, b in ([(h[n - 1, k], x)] if n > 0 else []) + ([(x, h[n + 1, k])] if n < 7 else []):
                        value += 2.0 * (a / b - math.log(a / b))
                    return value

                h[n, k] = scale * math.exp(minimize_scalar(cost, bounds=(-12, 6), options={"xatol": 1e-10}).x)
    np.testing.assert_allclose(new[0].numpy(), h, rtol=1e-5)


def test_relevance_leaves_the_atoms_that_are_needed():
    generator = torch.Generator().manual_seed(8)
    w = torch.rand(1, 2, 40, generator=generator, dtype=torch.float64) ** 4 + 0.01
    h = torch.rand(1, 150, 2, generator=generator, dtype=torch.float64)
    power = (h @ w) * -torch.log1p(-torch.rand(1, 150, 40, generator=generator, dtype=torch.float64))
    silence, mask = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 150).double()
    counts = []
    for relevance in (0.0, 2.0):
        model = NMF(rank=6, relevance=relevance)
        state = model.init(power, mask, Streams.from_seed(0, ["a"], [150]))
        for _ in range(400):
            state = model.update(state, power, silence, torch.zeros(1, 1, 150).double(), mask)
        level = state.h.mean(1)[0]
        counts.append(int((level > 0.03 * level.sum()).sum()))
    assert counts[0] == 6
    assert counts[1] == 2
