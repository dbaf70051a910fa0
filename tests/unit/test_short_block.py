"""EM on a block of a few frames gives what the general E-step, gain, noise and filter give."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vae_se.inference.estep.vem import Variational
from vae_se.inference.gain import Gain
from vae_se.inference.short_block import ShortBlock
from vae_se.inference.target import Target
from vae_se.inference.wiener import filter_moments
from vae_se.noise.continuation import fit_activations
from vae_se.noise.moving_window import fitted_activations, step_of_activations
from vae_se.noise.multiplicative import NMFState, draw_weight, product, update_h
from vae_se.numerics import FIT_UPDATES
from vae_se.priors import PRIORS
from vae_se.rng import Streams
from vae_se.signal_spec import SignalSpec

BINS = 33


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def small_prior(activation="silu"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        prior = PRIORS["ffvae"](
            hidden=(8, 16), latent_dim=4, activation=activation, signal=SignalSpec(window=64, hop=16)
        )
    return prior.eval().requires_grad_(False)


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("kind", ["frame", "file", "fixed"])
def test_a_short_block_is_the_general_em(draws, kind):
    prior, kernel, gain_rule = small_prior(), Variational(draws=draws, steps=2), Gain(kind, 5.0)
    power, deviation, mask = 4 * random(1, 2, BINS), 0.5 + random(1, 2, BINS, seed=1), torch.ones(1, 2)
    state = NMFState(random(1, 3, BINS, seed=2), random(1, 2, 3, seed=3))
    posterior = prior.encode(power)
    gain = torch.ones(1, 2)

    target = Target(prior, power, product(state), gain, mask, posterior, deviation)
    one, two = (Streams.from_seed(0, ["a"], [2]) for _ in range(2))
    general = kernel.init(target, power, one)
    two.normal_draws(draws, prior.latent_dim)  # the general kernel draws once at its start
    block = ShortBlock.start(prior, kernel, gain_rule, power, posterior, deviation)
    w, h = state.w[0], state.h[0]
    for _ in range(3):
        general, _ = kernel.step(target, general, one)
        found = general.draws
        gain = gain_rule.update(target, found.log_variance, found.log_weight)
        target = dataclasses.replace(target, gain=gain)
        speech = target.speech_variance(found.log_variance)
        state = NMFState(state.w, update_h(state, power, speech, draw_weight(found.log_weight, mask)))
        target = dataclasses.replace(target, noise=product(state))
        moments = filter_moments(target, found)

        block.iterate(h @ w, two)
        h = step_of_activations(w, h, power[0], block.speech)
        ours = block.moments(h @ w)
        torch.testing.assert_close(block.gain[:, 0], gain[0])
        torch.testing.assert_close(h, state.h[0])
        torch.testing.assert_close(ours.mean(), moments.mean()[0])
        torch.testing.assert_close(ours.variance(power[0]), moments.variance(power)[0])


@pytest.mark.parametrize("activation", ["silu", "tanh"])
@pytest.mark.parametrize("thin", [False, True])
def test_the_derivative_of_the_decoder(activation, thin):
    prior = small_prior(activation)
    if thin:
        assert prior.compress(1.0)
    z = 3 * torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    slope = random(1, 2, BINS)
    decoded, derivative = prior.decode_with_derivative(z)
    torch.testing.assert_close(decoded, prior.decode(z))
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad((prior.decode(leaf) * slope).sum(), leaf)
    torch.testing.assert_close(derivative(slope), expected)


def test_activations_of_a_few_frames():
    w, variance = random(3, BINS), random(2, BINS, seed=1)
    expected = fit_activations(w.unsqueeze(0), variance.unsqueeze(0), torch.ones(1, 2))
    torch.testing.assert_close(fitted_activations(w, variance, FIT_UPDATES), expected[0])
