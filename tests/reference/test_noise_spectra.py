"""Priors on the spectra of noise: descent, a slow minimisation, densities, and their effect."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize_scalar

from tests.reference.test_noise_penalties import likelihood_cost
from vae_se.errors import UsageError
from vae_se.noise.multiplicative import NMFState, draw_weight, product
from vae_se.noise.nmf import NMF
from vae_se.noise.spectrum_prior import SpectrumPrior
from vae_se.rng import Streams

PRIORS = [SpectrumPrior(gamma=3.0), SpectrumPrior(inverse_gamma=3.0), SpectrumPrior(2.0, 0.5)]


@pytest.fixture(params=[1e-6, 1.0, 1e6], ids=["quiet", "unit", "loud"])
def case(request):
    """Power, two draws of speech, equal weights, a spectrum with a slope, an NMF state."""
    generator = torch.Generator().manual_seed(4)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.05

    scale = request.param
    weight = draw_weight(torch.full((2, 2, 8), math.log(0.5)).double(), torch.ones(2, 8).double())
    w = random(2, 3, 6)
    state = NMFState(w / w.mean(-1, keepdim=True), scale * random(2, 8, 3))
    mode = scale * random(2, 6) * 10 ** -torch.arange(6).double()
    return state, scale * random(2, 8, 6) * 3, scale * random(2, 2, 8, 6), weight, mode


@pytest.mark.parametrize("prior", PRIORS, ids=["gamma", "inverse-gamma", "both"])
def test_likelihood_and_prior_together_do_not_fall(case, prior):
    state, power, speech, weight, mode = case
    costs = []
    for _ in range(60):
        costs.append(likelihood_cost(state, power, speech, weight) + prior.cost(state.w, mode))
        state = prior.update_w(state, power, speech, weight, mode)
        torch.testing.assert_close(state.w.mean(-1), torch.ones(2, 3).double())
    costs = torch.stack(costs)
    assert (costs.diff(dim=0) <= 1e-9 * costs[0].abs()).all()
    assert (costs[-1] < costs[0] - 0.1).all()


@pytest.mark.parametrize("prior", PRIORS, ids=["gamma", "inverse-gamma", "both"])
def test_a_step_matches_a_slow_minimisation(case, prior):
    """Minimise over the scale of each atom, then over each bin of the majoriser, with a numerical search."""
    state, power, speech, weight, mode = case

    def held(u, m):
        x = u / m
        return prior.gamma * (x - np.log(x) - 1) + prior.inverse_gamma * (1 / x + np.log(x) - 1)

    def search(cost, around):
        best = minimize_scalar(
            lambda u: cost(around * math.exp(u)), bounds=(-20, 20), method="bounded", options={"xatol": 1e-11}
        )
        return around * math.exp(best.x)

    m, old_w, h = mode[0].numpy(), state.w[0].numpy().copy(), state.h[0].numpy().copy()
    for k in range(3):
        scale = search(lambda t, k=k: held(t * old_w[k], m).sum(), m.mean())
        old_w[k], h[:, k] = scale * old_w[k], h[:, k] / scale
    v = speech[0].numpy() + (h @ old_w)[None]
    above = h.T @ (0.5 * power[0].numpy() / v**2).sum(0)
    below = h.T @ (0.5 / v).sum(0)
    new = np.array(
        [
            [
                search(
                    lambda x, k=k, f=f: above[k, f] * old_w[k, f] ** 2 / x + below[k, f] * x + held(x, m[f]),
                    old_w[k, f],
                )
                for f in range(6)
            ]
            for k in range(3)
        ]
    )
    found = prior.update_w(state, power, speech, weight, mode)
    np.testing.assert_allclose(found.w[0].numpy(), new / new.mean(-1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(product(found)[0].numpy(), h @ new, rtol=1e-4)


def test_the_cost_is_that_of_the_densities_at_the_likeliest_scale():
    w, m, c = np.array([0.3, 2.0, 0.7]), np.array([1.0, 0.2, 3.0]), 4.0
    densities = {
        "gamma": lambda x: (
            stats.gamma.logpdf(x, c + 1, scale=m / c) - stats.gamma.logpdf(m, c + 1, scale=m / c)
        ),
        "inverse_gamma": lambda x: (
            stats.invgamma.logpdf(x, c - 1, scale=c * m) - stats.invgamma.logpdf(m, c - 1, scale=c * m)
        ),
    }
    for name, log_density in densities.items():
        prior = SpectrumPrior(**{name: c})
        best = minimize_scalar(lambda u, f=log_density: -f(w * math.exp(u)).sum(), bounds=(-6, 6)).fun
        cost = prior.cost(torch.from_numpy(w)[None, None], torch.from_numpy(m)[None])
        assert float(cost) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("name", ["gamma", "inverse_gamma"])
def test_spectra_stay_near_the_spectrum_of_the_recording(name):
    """White noise with a loud line in two of twenty frames: the heavier the prior, the less of it is in W."""
    generator = torch.Generator().manual_seed(1)
    power = -torch.log1p(-torch.rand(1, 20, 40, generator=generator, dtype=torch.float64))
    power[0, 7:9, 11] += 300
    silence, mask = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 20).double()
    peaks = []
    for weight in (0.0, 10.0, 1000.0):
        model = NMF(rank=2, **{name: weight})
        state = model.init(power, mask, Streams.from_seed(0, ["a"], [20]))
        for _ in range(100):
            state = model.update(state, power, silence, torch.zeros(1, 1, 20).double(), mask)
        peaks.append(float(state.w.max()))
    assert peaks[0] > peaks[1] > peaks[2]


def test_a_weight_below_zero_is_an_error():
    with pytest.raises(UsageError, match="inverse_gamma"):
        NMF(inverse_gamma=-1.0)
