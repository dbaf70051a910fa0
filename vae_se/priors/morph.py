"""Interpolation between two recordings in the latent space of a prior."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional

from .base import SpeechPrior
from .voice import griffin_lim


@dataclasses.dataclass(frozen=True)
class Morph:
    """An interpolation between two recordings.

    ``first`` and ``second`` (N, L): latents of both recordings, resampled to N frames; ``between`` (N, L): the
    interpolated latents; ``weight`` (N,): share of the second recording; ``log_variance`` (N, F): the decoded
    interpolation.
    """

    first: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor
    between: torch.Tensor
    log_variance: torch.Tensor


@torch.no_grad()
def morph(prior: SpeechPrior, first: torch.Tensor, second: torch.Tensor, weight: float | None = None) -> Morph:
    """Interpolate linearly between the posterior means of two waveforms (T,) at the prior's rate and level.

    Both sequences of latents are resampled linearly to the mean of their lengths, so that their first frames
    coincide and their last frames coincide; there is no other alignment. ``weight`` is the share of the second
    recording, 0 to 1, in all frames; None increases it from 0 in the first frame to 1 in the last.
    """
    tracks = [_encoded(prior, waveform) for waveform in (first, second)]
    frames = round(sum(len(track) for track in tracks) / 2)
    a, b = (_stretched(track, frames) for track in tracks)
    share = torch.linspace(0, 1, frames) if weight is None else torch.full((frames,), float(weight))
    z = torch.lerp(a, b, share.unsqueeze(1))
    return Morph(a, b, share, z, prior.decode(z[None, None])[0, 0])


def morphed_sound(
    prior: SpeechPrior, result: Morph, generator: torch.Generator, iterations: int = 50
) -> torch.Tensor:
    """Waveform (T,) of a morph: standard deviations as magnitudes, phases by :func:`griffin_lim`."""
    stft = prior.signal.stft
    samples = max(1, (len(result.log_variance) - stft.frames(0)) * stft.hop)
    return griffin_lim(torch.exp(0.5 * result.log_variance), stft, samples, generator, iterations)


def _encoded(prior: SpeechPrior, waveform: torch.Tensor) -> torch.Tensor:
    """Posterior means (N, L) of a waveform (T,)."""
    power = prior.signal.stft.analyse(waveform).abs().square()
    return prior.encode(power.unsqueeze(0)).mean[0]


def _stretched(track: torch.Tensor, frames: int) -> torch.Tensor:
    """Latents (N, L) resampled to ``frames`` equal steps from the first frame to the last."""
    return functional.interpolate(track.T[None], size=frames, mode="linear", align_corners=True)[0].T
