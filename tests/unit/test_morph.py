"""Between two recordings: the ends are the ends, and the way is straight."""

from __future__ import annotations

import pytest
import torch

from tests.toys import tiny_prior
from vae_se.priors.morph import morph, morphed_sound


@pytest.fixture
def waves() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(samples, generator=generator) for samples in (800, 1600)]


def test_ends_and_middle(waves) -> None:
    prior = tiny_prior()
    first, second = (prior.encode(prior.signal.stft.analyse(w).abs().square()[None]).mean[0] for w in waves)
    found = morph(prior, *waves)
    frames = len(found.between)
    assert frames == round((len(first) + len(second)) / 2)
    torch.testing.assert_close(found.between[0], first[0])
    torch.testing.assert_close(found.between[-1], second[-1])
    assert torch.equal(found.weight, torch.linspace(0, 1, frames))
    torch.testing.assert_close(morph(prior, *waves, weight=0).between, found.first)
    torch.testing.assert_close(morph(prior, *waves, weight=1).between, found.second)
    torch.testing.assert_close(morph(prior, *waves, weight=0.5).between, (found.first + found.second) / 2)
    same = morph(prior, waves[0], waves[0], weight=0.3)
    torch.testing.assert_close(same.between, first)


def test_sound_is_as_long_as_its_frames(waves) -> None:
    prior = tiny_prior()
    found = morph(prior, *waves)
    sound = morphed_sound(prior, found, torch.Generator().manual_seed(1), iterations=2)
    assert prior.signal.stft.frames(len(sound)) == len(found.between)
    assert torch.isfinite(sound).all()
