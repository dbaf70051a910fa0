"""The transform: exact reconstruction at every length, units, and what it refuses."""

import itertools

import numpy as np
import pytest
import scipy.signal
import torch

from vae_se.errors import UsageError
from vae_se.stft import STFT


@pytest.mark.parametrize("samples", [1, 2, 100, 255, 256, 257, 511, 512, 768, 1023, 1024, 1025, 5000, 16001])
def test_every_length_is_reconstructed(samples):
    stft = STFT()
    x = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples), dtype=torch.float64)
    spectrum = stft.analyse(x)
    assert spectrum.shape == (2, stft.frames(samples), 513)
    torch.testing.assert_close(stft.synthesise(spectrum, samples), x, rtol=0, atol=1e-13)


def test_single_precision_is_exact_to_its_own_accuracy():
    x = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    stft = STFT()
    assert (stft.synthesise(stft.analyse(x), 16000) - x).abs().max() < 2e-6


def test_power_is_in_units_of_the_mean_square():
    x = 3 * torch.randn(400_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    power = STFT().analyse(x).abs().square()[4:-4]
    assert power[:, 1:-1].mean().item() == pytest.approx(9, rel=0.01)


def test_agrees_with_scipy():
    x = np.random.default_rng(0).standard_normal(8000)
    stft = STFT(512, 128)
    window = stft.taper(torch.float64).numpy()
    theirs = scipy.signal.ShortTimeFFT(window, hop=128, fs=1, phase_shift=None).stft(x).T
    mine = stft.analyse(torch.from_numpy(x)).numpy()
    # Their first slice is centred on -128 samples, ours begins 384 samples before the signal.
    start = next(i for i in range(8) if np.allclose(theirs[i : i + 20], mine[:20]))
    np.testing.assert_allclose(mine[:40], theirs[start : start + 40], atol=1e-12)


def test_synthesis_is_the_pseudo_inverse():
    """Of all waveforms, the one whose analysis is nearest to a spectrogram that no waveform has."""
    stft = STFT(16, 4)
    generator = torch.Generator().manual_seed(2)
    spectrum = torch.randn(stft.frames(21), 9, generator=generator, dtype=torch.complex128)
    spectrum[:, 0].imag.zero_()
    spectrum[:, -1].imag.zero_()

    def frames(spectrogram):
        return torch.fft.irfft(spectrogram, n=16)

    pulses = torch.eye(21, dtype=torch.float64)
    analysis = torch.stack([frames(stft.analyse(pulse)).flatten() for pulse in pulses], 1)
    best = torch.linalg.lstsq(analysis, frames(spectrum).flatten().unsqueeze(1)).solution[:, 0]
    torch.testing.assert_close(stft.synthesise(spectrum, 21), best)


@pytest.mark.parametrize(("window", "hop"), [(1024, 0), (1024, 1024), (1000, 300), (0, 1)])
def test_bad_settings_are_refused(window, hop):
    with pytest.raises(UsageError, match="hop"):
        STFT(window, hop)


def test_wrong_shapes_are_refused():
    with pytest.raises(UsageError, match="empty"):
        STFT().analyse(torch.zeros(0))
    with pytest.raises(UsageError, match="3, 513"):
        STFT().synthesise(torch.zeros(3, 513, dtype=torch.complex64), 16000)


@pytest.mark.parametrize("samples", [1, 300, 1024, 5000])
@pytest.mark.parametrize("cuts", [(0, 1), (0, 3, 5), (0, 2, 9, 10)])
def test_frames_in_parts_are_those_of_the_whole(samples, cuts):
    stft = STFT(256, 64)
    x = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples), dtype=torch.float64)
    whole, out = stft.analyse(x), torch.zeros_like(x)
    borders = [*[c for c in cuts if c < len(whole[0])], len(whole[0])]
    for start, stop in itertools.pairwise(borders):
        first, last = stft.span(start, stop)
        left, right = max(0, -first), max(0, last - samples)
        part = torch.nn.functional.pad(x[:, max(0, first) : last], (left, right))
        assert torch.equal(stft.transform(part), whole[:, start:stop])
        stft.overlap_add(whole[:, start:stop], start, out)
    torch.testing.assert_close(out, x, rtol=0, atol=1e-13)
