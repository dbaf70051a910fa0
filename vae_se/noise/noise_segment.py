"""Noise learnt from a noise segment of the recording itself in which nobody speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import AudioError, UsageError
from ..numerics import POWER_FLOOR
from .dictionary import fit
from .store import NoiseDictionary
from .time_range import parse_time_range

#: At most this many spectra, and at least this many frames for each: from fewer it would learn chance.
ATOMS, FRAMES_PER_ATOM = 8, 10
ITERATIONS = 100


def learn(text: str, power: Callable[[int, int], torch.Tensor], samples: int, signal: Any) -> NoiseDictionary:
    """A dictionary of the noise segment ``text`` of a recording of ``samples`` samples.

    ``power(first, last)`` gives |x|^2 of those of its frames, (last - first, F).

    ``signal`` is the prior's: rate, window and hop, and frames as :class:`~vae_se.stft.STFT` places them. Only
    frames that lie in the noise segment as a whole are looked at.

    Raises UsageError where the noise segment leaves the recording or is too short, AudioError where it is silent.
    """
    start, stop = parse_time_range(text)
    length = samples / signal.rate
    # A time copied from a player may be rounded up beyond the end.
    if start >= length or stop > length + 0.1:
        raise UsageError(
            f"the noise segment {text} leaves the recording, which is {length:.2f} s long", "name a part of it"
        )
    # Frame n sees the samples from (n + 1) hop - window to (n + 1) hop.
    first = -(-(round(start * signal.rate) + signal.window - signal.hop) // signal.hop)
    last = min(round(stop * signal.rate), samples) // signal.hop  # the first frame that is out
    if last - first < FRAMES_PER_ATOM:
        least = (signal.window + (FRAMES_PER_ATOM - 1) * signal.hop) / signal.rate
        raise UsageError(
            f"the noise segment {text} is too short", f"give at least {least + 0.01:.2f} s of noise"
        )
    inside = power(first, last)
    if float(inside.mean()) <= 10 * POWER_FLOOR:
        raise AudioError(f"the noise segment {text} is silent: there is no noise in it", "name another part")
    atoms, _ = fit(inside + POWER_FLOOR, min(ATOMS, len(inside) // FRAMES_PER_ATOM), ITERATIONS)
    loudness = float(inside.mean())
    return NoiseDictionary(atoms, signal.rate, signal.window, signal.hop, (text,), loudness)
