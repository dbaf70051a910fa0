"""Sound generated from a speech prior: latents drawn from p(z), decoded, with phases by Griffin and Lim."""

from __future__ import annotations

import math

import torch

from ..errors import UsageError
from ..stft import STFT
from .base import SpeechPrior


def smooth_latents(z: torch.Tensor, smooth: float) -> torch.Tensor:
    """Correlate independent latents (..., N, L) over time, without changing their marginal N(0, I).

    First-order autoregression z'_n = a z'_{n-1} + sqrt(1 - a^2) z_n with a = ``smooth`` in [0, 1): the
    correlation of frames k apart is a^k. Raises UsageError for another value.

    >>> smooth_latents(torch.ones(2, 1), 0.6).flatten().tolist() == [1.0, 1.4000000953674316]
    True
    """
    if not 0 <= smooth < 1:
        raise UsageError(f"smooth = {smooth}", "0 (independent frames) up to below 1")
    out = z.clone()
    for n in range(1, z.shape[-2]):
        out[..., n, :] = smooth * out[..., n - 1, :] + math.sqrt(1 - smooth**2) * z[..., n, :]
    return out


def griffin_lim(
    magnitude: torch.Tensor, stft: STFT, samples: int, generator: torch.Generator, iterations: int = 50
) -> torch.Tensor:
    """A waveform (T,) whose spectrogram approximates the magnitudes (N, F); the first phases are random.

    Griffin and Lim, Signal estimation from modified short-time Fourier transform, 1984, with the momentum of
    Perraudin, Balazs and Søndergaard, A fast Griffin-Lim algorithm, 2013.
    """
    phase = 2 * math.pi * torch.rand(magnitude.shape, generator=generator)
    spectrum = torch.polar(magnitude, phase)
    previous = torch.zeros_like(spectrum)
    for _ in range(iterations):
        consistent = stft.analyse(stft.synthesise(spectrum, samples))
        accelerated = consistent + 0.99 * (consistent - previous)
        previous = consistent
        spectrum = torch.polar(magnitude, torch.angle(accelerated))
    return stft.synthesise(spectrum, samples)


def sample_voice(
    prior: SpeechPrior, seconds: float, generator: torch.Generator, smooth: float = 0.9, iterations: int = 50
) -> torch.Tensor:
    """A waveform (T,) drawn from the prior: latents from p(z), decoded to standard deviations as magnitudes.

    ``smooth``: correlation of the latents from frame to frame, see :func:`smooth_latents`; a dynamical prior
    has its own and ignores it. The active level is about that of the prior's training speech.
    """
    signal = prior.signal
    samples = max(1, round(seconds * signal.rate))
    with torch.no_grad():
        z = prior.sample(signal.stft.frames(samples), generator)
        if prior.factorised:
            z = smooth_latents(z, smooth)
        magnitude = torch.exp(0.5 * prior.decode(z)[0, 0])
    return griffin_lim(magnitude, signal.stft, samples, generator, iterations)
