"""Noise drawn from the noise model itself: a random dictionary times random activations.

The prior over noise, for one recording:

- Number of atoms: 1 to 16, uniform in its logarithm.
- Log-spectrum of an atom, a sum of: a tilt of -12 to +3 dB an octave; a smooth random curve (cosines over
  the mel scale with falling amplitudes, 2 to 12 dB in all); with probability 1/3 a resonance (a bell over
  log-frequency, 0.05 to 1 octave wide, 10 to 40 dB high); with probability 1/4 a comb (peaks at the multiples
  of 40 to 2000 Hz, 10 to 40 dB high); with probability 1/4 an edge above or below which the spectrum falls off
  steeply. In one recording of six the atoms come from the speech prior instead: decoded draws of z, noise that
  sounds like voices.
- Activation of an atom: a level (normal, 8 dB) and a course. Steady and slow (log-normal, time constant
  of 0.2 to 4 s, 2 to 9 dB) are twice as probable as each of the others: fast (gamma distributed, independent
  between frames, shape 0.1 to 3); bursts (Poisson onsets, 0.3 to 8 a second, exponential decay of 20 to 600
  ms, 15 to 40 dB above the floor); gated (a random telegraph signal, phases of 0.1 to 3 s, 20 to 40 dB deep);
  a swell (a cosine with a period of 1 to 20 s, up to 20 dB).

The spectrogram is a complex Gaussian draw with variance W H. It is made consistent with a waveform by
synthesis and analysis: otherwise neighbouring frames would be independent, which frames of overlapping windows
never are.
"""

from __future__ import annotations

import math
from typing import Any

import torch

MAX_RANK = 16
# Steady and slow courses are twice as probable as the others.
_COURSES = ("steady", "steady", "slow", "slow", "fast", "bursts", "gated", "swell")
_DECIBELS = math.log(10) / 10


def draw_noise(
    prior: Any, recordings: int, samples: int, generator: torch.Generator, voices: float = 1 / 6
) -> torch.Tensor:
    """Noise waveforms (B, samples) at the prior's rate, each of unit power; ``generator`` is on the CPU.

    ``prior``: a SpeechPrior, which gives the STFT, and the atoms of the fraction ``voices`` of the recordings.
    """
    signal = prior.signal
    frames = signal.stft.frames(samples)
    variance = torch.stack(
        [
            _activations(rank, frames, signal.rate / signal.hop, generator)
            @ _dictionary(prior, rank, voices, generator)
            for rank in (_rank(generator) for _ in range(recordings))
        ]
    )
    spread = torch.view_as_complex(torch.randn(*variance.shape, 2, generator=generator)) * math.sqrt(0.5)
    noise = signal.stft.synthesise(spread * variance.sqrt(), samples)
    return noise / noise.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)


def _rank(generator: torch.Generator) -> int:
    return round(2 ** (_uniform(generator) * math.log2(MAX_RANK)))


def _uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _log_uniform(generator: torch.Generator, low: float, high: float) -> float:
    return math.exp(_uniform(generator, math.log(low), math.log(high)))


def _chance(generator: torch.Generator, probability: float) -> bool:
    return _uniform(generator) < probability


@torch.no_grad()
def _dictionary(prior: Any, rank: int, voices: float, generator: torch.Generator) -> torch.Tensor:
    """W (K, F), each atom of mean 1 over bins."""
    if _chance(generator, voices):
        log_w = prior.decode(prior.sample(rank, generator))[0, 0].clamp(-16, 8)
    else:
        bins = prior.signal.stft.bins
        hertz = torch.linspace(0, prior.signal.rate / 2, bins).clamp(min=20.0)
        # The atoms of one recording share a shape, as the sounds of one source do.
        shared, own = _spectrum(hertz, generator), _uniform(generator)
        log_w = torch.stack([shared + own * (_spectrum(hertz, generator) - shared) for _ in range(rank)])
    w = torch.exp(log_w - log_w.amax(-1, keepdim=True))
    return w / w.mean(-1, keepdim=True)


def _spectrum(hertz: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A log-spectrum (F,) in nats of power."""
    octaves = torch.log2(hertz / 1000)
    decibels = _uniform(generator, -12, 3) * octaves.clamp(-4, 3)
    mel = torch.log1p(hertz / 700)
    position = mel / mel[-1]
    order = torch.arange(1, 17)
    smooth = _log_uniform(generator, 0.3, 2.0)
    amplitude = torch.randn(16, generator=generator) * order**-smooth
    amplitude = amplitude * (_uniform(generator, 2, 12) / amplitude.norm())
    decibels = decibels + (amplitude[:, None] * torch.cos(math.pi * order[:, None] * position)).sum(0) * 1.4
    if _chance(generator, 1 / 3):
        centre = math.log2(_log_uniform(generator, 60, 7000) / 1000)
        width = _log_uniform(generator, 0.05, 1.0)
        bell = torch.exp(-0.5 * ((octaves - centre) / width).square())
        decibels = decibels + _uniform(generator, 10, 40) * bell
    if _chance(generator, 1 / 4):
        pitch = _log_uniform(generator, 40, 2000)
        distance = (hertz / pitch - torch.round(hertz / pitch)) * pitch
        width = _log_uniform(generator, 8, 60)
        comb = torch.exp(-0.5 * (distance / width).square()) * (hertz > pitch / 2)
        decibels = decibels + _uniform(generator, 10, 40) * comb
    if _chance(generator, 1 / 4):
        edge = math.log2(_log_uniform(generator, 150, 6000) / 1000)
        side = 1.0 if _chance(generator, 0.5) else -1.0
        decibels = decibels - _uniform(generator, 12, 48) * torch.relu(side * (octaves - edge)).clamp(max=2)
    return decibels * _DECIBELS


def _activations(rank: int, frames: int, rate: float, generator: torch.Generator) -> torch.Tensor:
    """H (N, K) at ``rate`` frames a second."""
    level = torch.randn(rank, generator=generator) * 8
    # Half of the atoms have the course of the first one: a recording has few kinds of course.
    first = _COURSES[int(_uniform(generator) * len(_COURSES))]
    courses = []
    for _ in range(rank):
        kind = first if _chance(generator, 0.5) else _COURSES[int(_uniform(generator) * len(_COURSES))]
        courses.append(_course(kind, frames, rate, generator))
    return torch.exp((torch.stack(courses, -1) + level).clamp(-60, 60) * _DECIBELS)


def _course(kind: str, frames: int, rate: float, generator: torch.Generator) -> torch.Tensor:
    """One activation over time, (N,) in dB."""
    if kind == "slow":
        pole = math.exp(-1 / (rate * _log_uniform(generator, 0.2, 4.0)))
        return _uniform(generator, 2, 9) * _autoregressive(frames, pole, generator)
    if kind == "fast":
        shape = _log_uniform(generator, 0.1, 3.0)
        return torch.log(_gamma(shape, frames, generator) / shape + 1e-6) / _DECIBELS
    if kind == "bursts":
        onset = torch.rand(frames, generator=generator) < _log_uniform(generator, 0.3, 8.0) / rate
        decay = 1 / (_DECIBELS * rate * _log_uniform(generator, 0.02, 0.6))  # dB a frame
        height = _uniform(generator, 15, 40)
        loud = torch.where(onset, height * torch.rand(frames, generator=generator).sqrt(), -math.inf)
        return _decaying_maximum(loud, decay).clamp(min=0.0) - height
    if kind == "gated":
        mean = rate * _log_uniform(generator, 0.1, 3.0)
        flips = torch.rand(frames, generator=generator) < 1 / max(mean, 1.0)
        on = (torch.cumsum(flips, 0) + int(_chance(generator, 0.5))) % 2
        return _uniform(generator, 20, 40) * (on - 1.0)
    if kind == "swell":
        period = rate * _log_uniform(generator, 1.0, 20.0)
        phase = _uniform(generator, 0, 2 * math.pi)
        return _uniform(generator, 0, 10) * torch.cos(2 * math.pi * torch.arange(frames) / period + phase)
    return torch.zeros(frames)


def _autoregressive(frames: int, pole: float, generator: torch.Generator) -> torch.Tensor:
    """A stationary first-order process of unit variance, by its Cholesky factor in one product."""
    n = torch.arange(frames)
    power = torch.where(n[:, None] >= n, pole ** (n[:, None] - n).clamp(min=0), 0.0)
    scale = torch.full((frames,), math.sqrt(1 - pole * pole))
    scale[0] = 1.0
    return power @ (scale * torch.randn(frames, generator=generator))


def _gamma(shape: float, frames: int, generator: torch.Generator) -> torch.Tensor:
    return torch._standard_gamma(torch.full((frames,), shape), generator=generator)


def _decaying_maximum(level: torch.Tensor, decay: float) -> torch.Tensor:
    """max over the past of level_m - decay (n - m), (N,)."""
    slope = decay * torch.arange(len(level))
    return torch.cummax(level + slope, 0).values - slope
