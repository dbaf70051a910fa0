"""Held-out bins: which are left out, what is predicted, and that the true noise model is found."""

import math

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.model_comparison import compare_noise, parse_candidate
from vae_se.errors import AudioError, UsageError
from vae_se.inference.held_out import PATCH, HeldOut, first_guess, held_out, patches
from vae_se.noise import NOISES
from vae_se.rng import Streams

QUICK = {"inference__iterations": 8, "inference__averaging": 2, "device": "cpu"}


def streams(frames: int, seed: int = 0) -> Streams:
    return Streams.from_seed(seed, ["a"], [frames])


def test_patches_cover_about_the_part_that_is_asked_for_and_no_padding():
    mask = torch.ones(1, 600)
    mask[:, 500:] = 0
    held = patches(mask, 200, streams(600), 0.1)
    assert held[:, :500].float().mean() == pytest.approx(0.1, abs=0.015)
    assert not held[:, 500:].any()
    # A patch that nothing overlaps has its full size.
    sizes = held[0].float().sum(0).max(), held[0].float().sum(1).max()
    assert sizes[0] >= PATCH[0]
    assert sizes[1] >= PATCH[1]


def test_the_first_guess_does_not_see_what_is_held_out():
    power, mask = torch.rand(1, 60, 40) + 0.5, torch.ones(1, 60)
    held = patches(mask, 40, streams(60))
    other = torch.where(held, 1e6, power)
    guess = first_guess(power, held, mask)
    assert torch.equal(guess, first_guess(other, held, mask))
    assert torch.equal(guess[~held], power[~held])
    assert ((guess > 0.5) & (guess < 1.5)).all()


@pytest.mark.parametrize("noise", ["nmf", "student-t", "alpha-stable"])
def test_the_fit_does_not_see_what_is_held_out(small_prior, noise):
    em = build_em(Config().override({"noise.name": noise, "inference.iterations": 2}), small_prior)
    bins = small_prior.signal.stft.bins
    power, mask = torch.rand(1, 40, bins) + 0.1, torch.ones(1, 40)
    first = held_out(em, power, mask, streams(40))
    louder = torch.where(first.held, 4 * power, power)
    second = held_out(em, louder, mask, streams(40))
    assert torch.equal(first.held, second.held)
    assert (first.log_density[~first.held] == 0).all()
    # A density of the power: log p falls as the power rises and the prediction stays.
    assert (second.log_density[first.held] < first.log_density[first.held]).all()
    if noise == "nmf":
        # One draw of the latents: -|x|^2 / V is the only difference.
        variance = 3 * power / (first.log_density - second.log_density)
        expected = -math.log(math.pi) - variance.log() - power / variance
        torch.testing.assert_close(expected[first.held], first.log_density[first.held], rtol=0.05, atol=0.1)


def test_the_advantage_is_the_difference_of_the_scores():
    held = torch.ones(1, 24, 5, dtype=torch.bool)
    one, two = (HeldOut(torch.randn(1, 24, 5, generator=torch.Generator().manual_seed(k)), held) for k in (0, 1))
    mean, error = one.advantage(two)
    torch.testing.assert_close(mean, one.score() - two.score())
    assert error > 0
    assert one.advantage(one) == (0.0, 0.0)


def test_impulse_quantiles_are_those_of_the_noise():
    nodes = NOISES["student-t"](dof=4.0).impulse_quantiles(64)
    # 1 / phi is gamma distributed with mean 1.
    assert np.mean(1 / np.asarray(nodes)) == pytest.approx(1, abs=0.02)
    stable = NOISES["alpha-stable"](alpha=1.5).impulse_quantiles(64)
    # The Laplace transform exp(-t^(alpha / 2)) at 1.
    assert np.mean(np.exp(-np.asarray(stable))) == pytest.approx(math.exp(-1), abs=0.01)
    assert NOISES["nmf"]().impulse_quantiles(64) == [1.0]
