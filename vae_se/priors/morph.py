"""From one recording to another through the latent space of a prior."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch.nn import functional

from .voice import griffin_lim


@dataclasses.dataclass(frozen=True)
class Morph:
    """``first``, ``second`` and ``between`` (N, L): latents of both ends, and of what lies between them.

    ``weight`` (N,): how much of the second is in it; ``log_variance`` (N, F): what the prior makes of it.
    """

    first: torch.Tensor
    second: torch.Tensor
    weight: torch.Tensor
    between: torch.Tensor
    log_variance: torch.Tensor


@torch.no_grad()
def morph(prior: Any, first: torch.Tensor, second: torch.Tensor, weight: float | None = None) -> Morph:
    """The straight line between the posterior means of two waveforms (T,), each at the prior's rate and level.

    Both tracks of latents are stretched over time, linearly, to the mean of their lengths, so that beginnings
    meet and ends meet; nothing is aligned in between. ``weight`` is the share of the second, 0 to 1, in all
    frames; None lets it rise from 0 at the first frame to 1 at the last.
    """
    tracks = [_encoded(prior, waveform) for waveform in (first, second)]
    frames = round(sum(len(track) for track in tracks) / 2)
    a, b = (_stretched(track, frames) for track in tracks)
    share = torch.linspace(0, 1, frames) if weight is None else torch.full((frames,), float(weight))
    z = torch.lerp(a, b, share.unsqueeze(1))
    return Morph(a, b, share, z, prior.decode(z[None, None])[0, 0])


def morphed_sound(prior: Any, result: Morph, generator: torch.Generator, iterations: int = 50) -> torch.Tensor:
    """Sound (T,) of a morph: standard deviations as magnitudes, the phase made from nothing else."""
    stft = prior.signal.stft
    samples = max(1, (len(result.log_variance) - stft.frames(0)) * stft.hop)
    return griffin_lim(torch.exp(0.5 * result.log_variance), stft, samples, generator, iterations)


def _encoded(prior: Any, waveform: torch.Tensor) -> torch.Tensor:
    """Posterior means (N, L) of a waveform (T,)."""
    power = prior.signal.stft.analyse(waveform).abs().square()
    mean: torch.Tensor = prior.encode(power.unsqueeze(0)).mean[0]
    return mean


def _stretched(track: torch.Tensor, frames: int) -> torch.Tensor:
    """A track (N, L) at ``frames`` equal steps from its first frame to its last."""
    return functional.interpolate(track.T[None], size=frames, mode="linear", align_corners=True)[0].T
