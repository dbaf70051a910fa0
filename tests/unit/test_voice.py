"""The prior's voice."""

from __future__ import annotations

import pytest
import torch

from vae_se.errors import UsageError
from vae_se.priors.voice import griffin_lim, smooth_latents
from vae_se.stft import STFT


def test_smoothing_keeps_the_marginal_and_sets_the_correlation():
    z = torch.randn(1, 1, 4000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = smooth_latents(z, 0.8)[0, 0]
    # A chain of 4000 with correlation 0.8 is worth 4000 (1 - a^2) / (1 + a^2) = 880 squares.
    assert torch.allclose(smooth.var(0), torch.ones(4, dtype=torch.float64), atol=5 * (2 / 880) ** 0.5)
    correlation = (smooth[1:] * smooth[:-1]).mean(0)
    assert torch.allclose(correlation, torch.full((4,), 0.8, dtype=torch.float64), atol=0.15)
    assert torch.equal(smooth_latents(z, 0.0), z)
    with pytest.raises(UsageError):
        smooth_latents(z, 1.0)


def test_griffin_lim_finds_a_signal_with_the_magnitudes():
    stft = STFT(256, 64)
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(4000) / 16000
    sound = torch.sin(2 * torch.pi * (500 * time + 2000 * time**2)) * torch.hann_window(4000)
    magnitude = stft.analyse(sound).abs()
    found = stft.analyse(griffin_lim(magnitude, stft, 4000, generator)).abs()
    assert ((found - magnitude).norm() / magnitude.norm()) < 0.15
