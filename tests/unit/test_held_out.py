"""Held-out bins: which are left out, what is predicted, and that the true noise model is found."""

import math

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from tests.toys import model_power
from tests.toys import tiny_prior as toy_prior
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.model_comparison import compare_noise, parse_candidate
from vae_se.errors import AudioError, UsageError
from vae_se.inference.estep import ESTEPS
from vae_se.inference.gain import Gain
from vae_se.inference.held_out import PATCH, HeldOut, first_guess, held_out, patches
from vae_se.inference.monte_carlo_em import MonteCarloEM
from vae_se.noise import NOISES
from vae_se.rng import Streams

QUICK = {"inference__iterations": 8, "inference__averaging": 2, "device": "cpu"}


PRIOR = toy_prior()


def model(noise: str, iterations: int, **settings: object) -> MonteCarloEM:
    """EM with one draw per frame."""
    parts = NOISES[noise](**settings, signal=PRIOR.signal), ESTEPS["map"](), Gain("fixed")
    return MonteCarloEM(PRIOR, *parts, iterations=iterations, averaging=1)


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
def test_the_fit_does_not_see_what_is_held_out(noise):
    power = model_power(PRIOR, 1, 40)
    mask, em = torch.ones(1, 40), model(noise, iterations=2)
    first = held_out(em, power, mask, streams(40))
    second = held_out(em, torch.where(first.held, 4 * power, power), mask, streams(40))
    assert torch.equal(first.held, second.held)
    assert (first.log_density[~first.held] == 0).all()
    # log p = -log(pi) - log V - |x|^2 / V for one V: as the power rises, log p falls.
    assert (second.log_density[first.held] < first.log_density[first.held]).all()
    if noise == "nmf":  # with one draw, V follows from the difference
        variance = 3 * power / (first.log_density - second.log_density)
        expected = -math.log(math.pi) - variance.log() - power / variance
        torch.testing.assert_close(expected[first.held], first.log_density[first.held], rtol=0.1, atol=0.1)


def noise_power(rank: int, frames: int = 300, heavy: bool = False) -> torch.Tensor:
    """Power (1, N, F) of speech of the small prior in noise of ``rank`` bands that come and go."""
    rng, bins = np.random.default_rng(0), PRIOR.signal.stft.bins
    z = torch.from_numpy(rng.standard_normal((1, 1, frames, PRIOR.latent_dim))).float()
    spectra, activations = rng.gamma(0.2, size=(rank, bins)) + 0.01, rng.gamma(0.3, size=(frames, rank)) + 0.01
    impulse = 1 / rng.gamma(1.0, size=(frames, bins)) if heavy else 1.0
    variance = 0.1 * PRIOR.decode(z)[0, 0].exp().numpy() + 30 * impulse * (activations @ spectra)
    return torch.from_numpy(rng.exponential(size=variance.shape) * variance).float()[None]


@pytest.mark.parametrize(
    ("power", "better", "worse"),
    [
        (noise_power(3), ("nmf", {"rank": 3}), ("nmf", {"rank": 1})),
        (noise_power(3), ("nmf", {"rank": 3}), ("nmf", {"rank": 24})),
        (noise_power(2, heavy=True), ("student-t", {"rank": 2, "dof": 2.0}), ("nmf", {"rank": 2})),
    ],
    ids=["rank too low", "rank too high", "heavy tails"],
)
def test_the_noise_model_that_the_data_come_from_is_better(power, better, worse):
    mask = torch.ones(power.shape[:2])
    first, second = (
        held_out(model(name, 30, **settings), power, mask, streams(power.shape[1]))
        for name, settings in (better, worse)
    )
    difference, error = first.advantage(second)
    assert difference > 2 * error > 0


def test_the_advantage_is_the_difference_of_the_scores():
    held = torch.ones(1, 24, 5, dtype=torch.bool)
    one, two = (
        HeldOut(torch.randn(1, 24, 5, generator=torch.Generator().manual_seed(k)), held) for k in (0, 1)
    )
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


def test_candidates_are_a_name_and_perhaps_a_rank():
    assert parse_candidate(" nmf : 4") == ("nmf", 4)
    for text in ("", ":4", "nmf:", "nmf:four"):
        with pytest.raises(UsageError, match="not a noise model"):
            parse_candidate(text)


def test_a_recording_is_compared_and_the_best_comes_first(tiny_prior):
    enhancer = Enhancer.from_pretrained(tiny_prior, **QUICK)
    sound = noisy_like(1.0)
    found = compare_noise(sound, 16000, ["nmf:2", "stationary"], enhancer=enhancer)
    assert {(one.name, one.rank) for one in found} == {("nmf", 2), ("stationary", None)}
    assert found[0].score > found[1].score
    assert found[0].behind == 0 < found[1].behind
    # The level of the recording does not matter, nor does a copy of the channel.
    louder = compare_noise(np.stack([3 * sound] * 2), 16000, ["nmf:2", "stationary"], enhancer=enhancer)
    assert louder[0].score == pytest.approx(found[0].score, abs=1e-3)
    assert found[0].overrides in ({"noise.name": "nmf", "noise.rank": 2}, {"noise.name": "stationary"})


def test_what_cannot_be_compared_is_refused(tiny_prior):
    enhancer = Enhancer.from_pretrained(tiny_prior, **QUICK)
    with pytest.raises(UsageError, match="give each once"):
        compare_noise(noisy_like(0.3), 16000, ["nmf", "nmf"], enhancer=enhancer)
    with pytest.raises(UsageError, match=r"no setting noise\.rank"):
        compare_noise(noisy_like(0.3), 16000, ["stationary:4"], enhancer=enhancer)
    with pytest.raises(AudioError, match="silent"):
        compare_noise(np.zeros(4000), 16000, ["nmf"], enhancer=enhancer)
