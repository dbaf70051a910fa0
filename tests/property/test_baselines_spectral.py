"""The NumPy transform inverts, for any length, window and level, and agrees with the one in torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_se.baselines.spectral import Spectral


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 3000),
    hop=st.integers(1, 200),
    overlap=st.integers(2, 5),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 9),
)
def test_synthesis_inverts_analysis(samples: int, hop: int, overlap: int, scale: float, seed: int) -> None:
    spectral = Spectral(2 * hop * overlap, 2 * hop, 16000)
    wave = scale * np.random.default_rng(seed).standard_normal(samples)
    spectrogram = spectral.analyse(wave)
    np.testing.assert_allclose(spectral.synthesise(spectrogram, samples), wave, atol=1e-12 * scale)
    assert spectral.steady_power(spectrogram).shape == spectrogram.shape


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000])
def test_the_same_as_in_torch(samples: int) -> None:
    import torch

    from vae_se.stft import STFT

    wave = np.random.default_rng(0).standard_normal(samples)
    other = STFT(512, 128).analyse(torch.from_numpy(wave)).numpy()
    np.testing.assert_allclose(Spectral(512, 128, 16000).analyse(wave), other, atol=1e-12)
