"""Where noise models start: at the level and the shape of the noise, spread as wide as the settings say."""

import math

import pytest
import torch

from tests.toys import SIGNAL
from vae_se.noise.continuation import shift_window
from vae_se.noise.dictionary import Dictionary
from vae_se.noise.multiplicative import NMFState, initial_spectrum, product
from vae_se.noise.nmf import NMF
from vae_se.noise.store import NoiseDictionary
from vae_se.rng import Streams


def stationary(frames, bins, scale=1.0):
    """Exponentially distributed powers (1, N, F) of a sloping spectrum, the spectrum (F,), and a mask."""
    spectrum = scale * torch.linspace(0.5, 1.5, bins, dtype=torch.float64)
    uniform = torch.rand(1, frames, bins, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return -torch.log1p(-uniform) * spectrum, spectrum, torch.ones(1, frames, dtype=torch.float64)


def start(model, power, mask):
    return model.init(power, mask, Streams.from_seed(0, ["a"], [power.shape[1]]))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize(("name", "tolerance"), [("mean", 0.01), ("log-mean", 0.01), ("quiet", 0.02)])
def test_the_initial_spectrum_of_stationary_noise_has_its_level(name, tolerance, scale):
    power, spectrum, mask = stationary(2000, 60, scale)
    ratio = initial_spectrum(name, power, mask, SIGNAL)[0] / spectrum
    assert float(ratio.mean()) == pytest.approx(1, abs=tolerance)
    assert float(ratio.std()) < 0.1


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_nmf_starts_at_that_spectrum_times_its_scale(rank, scale):
    power, _, mask = stationary(50, 60)
    model = NMF(rank=rank, init_spectrum="mean", init_scale=scale, init_jitter=0.1)
    ratio = product(start(model, power, mask))[0] / (scale * power[0].mean(0))
    assert float(ratio.mean()) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("jitter", [0.3, 0.8])
def test_spectra_start_spread_over_the_whole_range_of_the_jitter(jitter):
    """W of one atom is the spectrum times uniform numbers from 1 - j to 1 + j, up to its normalisation."""
    power, _, mask = stationary(20, 4000)
    model = NMF(rank=1, init_spectrum="mean", init_jitter=jitter)
    state = start(model, power, mask)
    spread = state.w[0, 0] / power[0].mean(0)
    spread = spread / spread.mean()
    assert float(spread.min()) == pytest.approx(1 - jitter, abs=0.03)
    assert float(spread.max()) == pytest.approx(1 + jitter, abs=0.03)
    # Uniform: the variance is (2 j)^2 / 12.
    assert float(spread.std()) == pytest.approx(jitter / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize("known", [1, 4])
def test_a_dictionary_starts_as_loud_as_the_noise_times_its_scale(known):
    power, _, mask = stationary(50, 33)
    atoms = NoiseDictionary(torch.ones(known, 33), SIGNAL.rate, SIGNAL.window, SIGNAL.hop)
    model = Dictionary(noise_segment="0-1", free=2, init_spectrum="mean", init_scale=2.0).with_known(atoms)
    variance = model.variance(start(model, power, mask))
    assert float(variance.mean()) == pytest.approx(2 * float(power.mean()), rel=1e-6)


def test_a_window_goes_on_with_the_noise_of_the_frames_that_it_shares():
    """Frame n of the new window is frame n + shift of the old one, at the new power scale."""
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(1, 2, 33, generator=generator) + 0.1
    before = NMFState(w, torch.rand(1, 10, 2, generator=generator) + 0.1)
    fresh = NMFState(torch.ones(1, 2, 33), torch.ones(1, 8, 2))
    found = shift_window(fresh, before, 4, 2.5, torch.ones(1, 8))
    torch.testing.assert_close(product(found)[:, :6], 2.5 * product(before)[:, 4:])
    assert torch.equal(found.w, w)
    # New frames: at the least Itakura-Saito divergence from the new state, variances have a mean ratio of 1.
    assert float((product(fresh) / product(found))[:, 6:].mean()) == pytest.approx(1, rel=0.02)
