"""Heavy-tailed noise against numerical integration."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from vae_se.noise.alpha_stable import AlphaStable, positive_stable
from vae_se.noise.heavy_tailed import ImpulseState
from vae_se.noise.multiplicative import NMFState
from vae_se.noise.student_t import StudentT
from vae_se.rng import Streams


def streams(frames, seed=0):
    return Streams.from_seed(seed, ["a"], [frames])


def single(power, scale, speech, frames=1):
    """One bin in each of many frames: state, power, speech variance, log-weights and mask."""
    ones = torch.ones(1, frames, 1, dtype=torch.float64)
    state = ImpulseState(NMFState(torch.ones(1, 1, 1, dtype=torch.float64), scale * ones), ones.clone())
    return state, power * ones, speech * ones[:, None], torch.zeros(1, 1, frames).double(), ones[..., 0]


def inverse_gamma(phi, dof):
    half = dof / 2
    return half**half / math.gamma(half) * phi ** (-half - 1) * math.exp(-half / phi)


@pytest.mark.parametrize("dof", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("power", [0.01, 1.0, 300.0])
def test_student_t_impulses_without_speech_are_the_exact_posterior(dof, power):
    def density(u, inverse):  # over the logarithm of phi, times 1 / phi where asked
        phi = math.exp(u)
        likelihood = math.exp(-power / (2 * phi)) / (2 * math.pi * phi)
        return phi * inverse_gamma(phi, dof) * likelihood / (phi if inverse else 1)

    evidence, above = (quad(density, -8, 18, args=(i,), limit=400, epsabs=1e-14)[0] for i in (False, True))
    new = StudentT(rank=1, dof=dof).update(*single(power, 2.0, 0.0))
    assert float(1 / new.impulse) == pytest.approx(above / evidence, rel=1e-5)
    # Phi integrated out, this is the complex Student-t.
    shape = (1 + 2 * power / (dof * 2)) ** (-dof / 2 - 1)
    assert evidence == pytest.approx(shape / (2 * math.pi), rel=1e-5)


@pytest.mark.parametrize(("power", "speech"), [(0.2, 5.0), (3.0, 1.0), (30.0, 4.0)])
def test_student_t_impulses_beside_speech_follow_the_power_of_the_noise(power, speech):
    """1 / E[1 / phi], with E|b|^2 by a sum over the complex plane of N_c(b; 0, n) N_c(x - b; 0, s)."""
    dof, scale = 4.0, 1.5
    side = np.linspace(-12, 12, 801)
    b = side[:, None] + 1j * side
    weight = np.exp(-(np.abs(b) ** 2) / scale - np.abs(math.sqrt(power) - b) ** 2 / speech)
    second = (weight * np.abs(b) ** 2).sum() / weight.sum()
    new = StudentT(rank=1, dof=dof).update(*single(power, scale, speech))
    expected = (dof / 2 + second / scale) / (dof / 2 + 1)
    assert float(new.impulse) == pytest.approx(expected, rel=1e-6)


def test_student_t_bound_rises_beside_speech_and_stays_below_the_evidence():
    """With W and H held: log N_c(x; 0, s + phi n) + E log p(phi) - E log q(phi) + E[...] under q(b) q(phi)."""
    dof, power, scale, speech = 2.0, 40.0, 1.5, 3.0
    model = StudentT(rank=1, dof=dof)
    state, x, s, weight, mask = single(power, scale, speech)

    def evidence():
        def density(u):
            phi = math.exp(u)
            v = speech + phi * scale
            return phi * inverse_gamma(phi, dof) * math.exp(-power / v) / (math.pi * v)

        return math.log(quad(density, -12, 25, limit=400)[0])

    def bound(phi):
        # q(phi) = inverse-gamma(a, c) whose 1 / E[1 / phi] = c / a is phi; q(b) its optimum given q(phi).
        a = dof / 2 + 1
        c = phi * a
        log_phi = math.log(c) - float(torch.digamma(torch.tensor(a, dtype=torch.float64)))
        v = speech + phi * scale
        fit = -math.log(math.pi * v) - power / v + math.log(phi) - log_phi
        half = dof / 2
        prior = half * math.log(half) - math.lgamma(half) - (half + 1) * log_phi - half * a / c
        entropy = a + math.log(c) + math.lgamma(a) - (1 + a) * float(torch.digamma(torch.tensor(a).double()))
        return fit + prior + entropy

    values = []
    for _ in range(60):
        new = model.update(state, x, s, weight, mask)
        values.append(bound(float(new.impulse)))
        state = ImpulseState(state.scale, new.impulse)
    assert (np.diff(values) >= -1e-10).all()
    assert values[-1] <= evidence()
    assert values[-1] > evidence() - 0.3


@pytest.mark.parametrize("index", [0.3, 0.5, 0.9])
def test_positive_stable_draws_have_their_laplace_transform(index):
    draws = positive_stable(index, streams(40_000), 5, torch.float64)[0]
    for t in (0.1, 1.0, 5.0):
        seen = torch.exp(-t * draws)
        error = float(seen.std()) / math.sqrt(seen.numel())
        assert float(seen.mean()) == pytest.approx(math.exp(-(t**index)), abs=4 * error + 1e-4)


@pytest.mark.parametrize(("power", "speech"), [(0.5, 0.0), (20.0, 0.0), (20.0, 8.0)])
def test_alpha_stable_impulses_have_their_posterior(power, speech):
    """Alpha = 1: phi has the Levy density, phi^(-3/2) exp(-1 / (4 phi)) / (2 sqrt(pi))."""

    def density(u, moment):
        phi = math.exp(u)
        v = speech + phi
        prior = phi**-1.5 * math.exp(-1 / (4 * phi)) / (2 * math.sqrt(math.pi))
        return phi * prior * math.exp(-power / v) / v * (u if moment else 1)

    evidence, first = (quad(density, -6, 13, args=(m,), limit=400)[0] for m in (False, True))
    frames = 4000
    model = AlphaStable(rank=1, alpha=1.0, sweeps=40)
    state, x, s, weight, mask = single(power, 1.0, speech, frames)
    state = model.sample_auxiliary(state, x, s, weight, mask, streams(frames))
    seen = state.impulse.log()
    error = float(seen.std()) / math.sqrt(frames)
    assert float(seen.mean()) == pytest.approx(first / evidence, abs=4 * error)


def test_heavy_tails_raise_the_likelihood_of_their_scale():
    """W and H under fixed impulses: the step of nmf on the recording divided by them."""
    generator = torch.Generator().manual_seed(3)
    power = torch.rand(1, 9, 6, generator=generator, dtype=torch.float64) * 5
    speech = torch.rand(1, 2, 9, 6, generator=generator, dtype=torch.float64)
    log_weight, mask = torch.full((1, 2, 9), math.log(0.5)).double(), torch.ones(1, 9).double()
    model = AlphaStable(rank=2)
    state = model.init(power, mask, streams(9))
    state = ImpulseState(state.scale, torch.rand(1, 9, 6, generator=generator, dtype=torch.float64) * 9 + 0.1)

    def cost(state):
        v = speech + model.variance(state).unsqueeze(1)
        return float((power.unsqueeze(1) / v + v.log()).sum()) / 2

    costs = [cost(state)]
    for _ in range(40):
        state = model.update(state, power, speech, log_weight, mask)
        costs.append(cost(state))
    assert (np.diff(costs) <= 1e-9).all()
    assert costs[-1] < costs[0] - 1
