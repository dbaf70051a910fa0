"""Impulses: the right frames are picked, and what has none is left as it was."""

import numpy as np
import pytest
import torch

from tests.cli.test_noise import RATE, si_sdr
from tests.conftest import speech_like
from tests.toys import tiny_prior
from vae_se import Enhancer
from vae_se.inference.start import pick_start
from vae_se.noise.impulsive import Impulsive
from vae_se.rng import Streams


def streams(frames):
    return Streams.from_seed(0, ["a"], [frames])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_rival_is_as_loud_as_the_frame_and_pick_takes_its_frames_alone(scale):
    power = scale * torch.rand(1, 20, 33, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 20)
    model = Impulsive(rank=2)
    state = model.init(power, mask, streams(20))
    torch.testing.assert_close(state.w[:, 2:].mean(-1), torch.ones(1, 5))
    rivals = model.rivals(state, power, mask)
    assert len(rivals) == 10
    # Flat atom, whole power: its variance is the mean power of the frame, and what was there before.
    noise = model.variance(rivals[3]) - model.variance(state)
    torch.testing.assert_close(noise[0, 5], power[0, 5].mean().expand(33), rtol=1e-3, atol=0.0)
    choice = torch.zeros(1, 20, dtype=torch.long)
    choice[0, 7] = 4
    picked = model.pick([state, *rivals], choice)
    assert torch.equal(picked.h[0, 7], rivals[3].h[0, 7])
    assert torch.equal(picked.h[0, :7], state.h[0, :7])
    assert torch.equal(picked.w, state.w)


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
        changed = (picked.h != state.h).any(-1)[0].nonzero()[:, 0].tolist()
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
            device="cpu", noise__name=name, inference__iterations=20, inference__recogniser=None
        )
        scores[name] = si_sdr(clean, enhancer.enhance(noisy, RATE))
    assert scores["impulsive"] > scores["nmf"] + 1, scores
