"""Impulses: the right frames are picked, and recordings without impulses do not change."""

import numpy as np
import pytest
import torch

from tests.cli.test_noise import RATE, si_sdr
from tests.conftest import speech_like
from tests.toys import tiny_prior
from vae_se import Enhancer
from vae_se.inference.initialisation import pick_start
from vae_se.noise.impulsive import Impulsive
from vae_se.noise.nmf import NMF
from vae_se.rng import Streams


def streams(frames):
    return Streams.from_seed(0, ["a"], [frames])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_an_alternative_is_as_loud_as_the_frame_and_pick_takes_it_in_its_frames(scale):
    power = scale * torch.rand(1, 20, 33, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 20)
    model = Impulsive(rank=2)
    state = model.init(power, mask, streams(20))
    torch.testing.assert_close(state.w[:, 2:].mean(-1), torch.ones(1, 5))
    alternatives = model.alternatives(state, power, mask)
    assert len(alternatives) == 10
    # Flat atom, whole power: the mean power of the frame is added to the variance.
    noise = model.variance(alternatives[3]) - model.variance(state)
    torch.testing.assert_close(noise[0, 5], power[0, 5].mean().expand(33), rtol=1e-3, atol=0.0)
    choice = torch.zeros(1, 20, dtype=torch.long)
    choice[0, 7] = 4
    picked = model.pick([state, *alternatives], choice)
    assert torch.equal(picked.w, state.w)
    torch.testing.assert_close(picked.h[0, 7], alternatives[3].h[0, 7], rtol=0.01, atol=0.0)
    # In other frames that atom is 30 dB below the steady noise, and the other atoms are off.
    others = torch.arange(20) != 7
    rest = 1e-3 * model.variance(state)[0, others].mean(-1)
    torch.testing.assert_close(picked.h[0, others, 3], rest)
    assert torch.equal(picked.h[..., :2], state.h[..., :2])
    assert (picked.h[..., [2, 4, 5, 6]] == 0).all()


@pytest.mark.parametrize("penalty", [{}, {"sparsity": 5.0}, {"gamma": 3.0}, {"inverse_gamma": 3.0}])
def test_without_impulses_it_is_nmf(penalty):
    """This holds after updates, and in a batch with a recording that has an impulse."""
    power = torch.rand(2, 20, 33, generator=torch.Generator().manual_seed(0)) + 1e-3
    mask, both = torch.ones(2, 20), Streams.from_seed(0, ["a", "b"], [20, 20])
    model, plain = Impulsive(rank=2, **penalty), NMF(rank=2, **penalty)
    start = model.init(power, mask, both)
    steady = plain.init(power, mask, Streams.from_seed(0, ["a", "b"], [20, 20]))
    choice = torch.zeros(2, 20, dtype=torch.long)
    choice[1, 7] = 4
    state = model.pick([start, *model.alternatives(start, power, mask)], choice)
    for _ in range(5):
        torch.testing.assert_close(model.variance(state)[0], plain.variance(steady)[0])
        assert (model.variance(state)[1] > plain.variance(steady)[1]).any()
        assert (state.h[0, :, 2:] == 0).all()
        speech, weight = 0.1 * torch.ones(2, 1, 20, 33), torch.zeros(2, 1, 20)
        state = model.update(state, power, speech, weight, mask)
        steady = plain.update(steady, power, speech, weight, mask)


def test_a_start_that_is_fitted_to_a_proposal_leaves_the_shapes_of_silent_atoms():
    power = torch.rand(1, 20, 33, generator=torch.Generator().manual_seed(0)) + 1e-3
    mask = torch.ones(1, 20)
    model = Impulsive(rank=2)
    state = model.init(power, mask, streams(20))
    fitted = model.start_at(state, 0.1 * power, mask)
    torch.testing.assert_close(fitted.w[:, 2:], state.w[:, 2:])
    assert (fitted.h[..., 2:] == 0).all()


def test_frames_with_an_impulse_and_no_others_are_picked():
    """Power drawn from the prior, and a flat burst of 30 dB in three frames; a large margin picks none."""
    prior = tiny_prior()
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(1, 1, 60, prior.latent_dim, generator=generator)
    power = prior.decode(z)[:, 0].exp() * -torch.log1p(-torch.rand(1, 60, 33, generator=generator))
    power[:, 20:23] += 1e3 * power.mean() * torch.rand(1, 3, 33, generator=generator)
    mask = torch.ones(1, 60)
    for margin, expected in ((20.0, [20, 21, 22]), (1e9, [])):
        model = Impulsive(rank=2, margin=margin)
        state = model.init(power, mask, streams(60))
        picked = pick_start(model, state, power, mask, prior, 0.05, streams(60))
        louder = model.variance(picked).mean(-1) > 1.01 * model.variance(state).mean(-1)
        changed = louder[0].nonzero()[:, 0].tolist()
        assert changed == expected


def test_clicks_are_removed_that_nmf_leaves():
    rng = np.random.default_rng(3)
    clean = np.concatenate([speech_like(1.5, seed=2), np.zeros(RATE // 2), speech_like(1.0, seed=5)])
    clicks = np.zeros(clean.size)
    clicks[rng.integers(0, clean.size, 20)] = rng.standard_normal(20)
    noisy = clean + clicks + 1e-3 * rng.standard_normal(clean.size)
    scores = {}
    for name in ("nmf", "impulsive"):
        enhancer = Enhancer.from_pretrained(
            device="cpu", noise__name=name, inference__iterations=20, inference__noisy_encoder=None
        )
        scores[name] = si_sdr(clean, enhancer.enhance(noisy, RATE))
    assert scores["impulsive"] > scores["nmf"] + 1, scores
