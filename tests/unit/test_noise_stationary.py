"""The stationary noise model: unbiased on noise, descent, and its tracker as the initial spectrum of others."""

import math

import pytest
import torch

from vae_se.noise.multiplicative import initial_spectrum, tracked
from vae_se.noise.nmf import NMF
from vae_se.noise.stationary import Stationary
from vae_se.rng import Streams
from vae_se.signal_spec import SignalSpec

FRAMES, BINS = 300, 20


@pytest.fixture(params=[1e-4, 1.0, 1e4], ids=["quiet", "unit", "loud"])
def case(request):
    """Exponentially distributed powers (1, N, F) of a steady spectrum, and that spectrum."""
    generator = torch.Generator().manual_seed(6)
    spectrum = request.param * torch.rand(BINS, generator=generator, dtype=torch.float64) + request.param / 10
    uniform = torch.rand(1, FRAMES, BINS, generator=generator, dtype=torch.float64)
    return -torch.log1p(-uniform) * spectrum, spectrum


def start(model, power):
    mask = torch.ones(power.shape[:2], dtype=power.dtype)
    return model.init(power, mask, Streams.from_seed(0, ["a"], [power.shape[1]])), mask


def test_level_of_steady_noise_is_found_from_a_start_off_by_ten(case):
    power, spectrum = case
    model = Stationary(init_scale=10.0)
    state, mask = start(model, power)
    silence, log_weight = torch.zeros(1, 1, 1, 1).double(), torch.zeros(1, 1, FRAMES).double()
    for _ in range(60):
        state = model.update(state, power, silence, log_weight, mask)
    error = 10 * torch.log10(model.variance(state)[0] / spectrum)
    assert abs(float(error.mean())) < 0.5
    assert float(state.gain.log().std()) < 0.15


@pytest.mark.parametrize("smoothness", [0.0, 20.0])
def test_cost_does_not_rise(case, smoothness):
    power, _ = case
    model = Stationary(init_scale=5.0, smoothness=smoothness)
    state, mask = start(model, power)
    generator = torch.Generator().manual_seed(1)
    speech = power.mean() * torch.rand(1, 2, FRAMES, BINS, generator=generator, dtype=torch.float64)
    log_weight = torch.full((1, 2, FRAMES), math.log(0.5)).double()
    costs = []
    for _ in range(30):
        v = speech + model.variance(state).unsqueeze(1)
        cost = 0.5 * (power.unsqueeze(1) / v + v.log()).sum()
        held = model.penalty.cost(state.gain.unsqueeze(-1), power, mask).sum()
        costs.append(float(cost + held))
        state = model.update(state, power, speech, log_weight, mask)
    assert (torch.tensor(costs).diff() <= 1e-7).all()
    assert costs[-1] < costs[0] - 1


def test_tracked_starts_other_models_at_its_mean(case):
    power, spectrum = case
    found = initial_spectrum("tracked", power, torch.ones(1, FRAMES), SignalSpec())
    torch.testing.assert_close(found[0], tracked(power[0], SignalSpec()).mean(0))
    # The tracker takes loud outliers of stationary noise for speech: its estimate is 1 dB low.
    assert float((10 * torch.log10(found[0] / spectrum)).abs().mean()) < 1.5
    state, _ = start(NMF(rank=4, init_spectrum="tracked", init_scale=1.0, init_jitter=0.1), power)
    shape = (state.h @ state.w)[0].mean(0)
    assert torch.nn.functional.cosine_similarity(shape, found[0], dim=0) > 0.99
