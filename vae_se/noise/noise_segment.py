"""A noise dictionary learnt from a segment of the recording in which nobody speaks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import AudioError, UsageError
from ..numerics import POWER_FLOOR
from ..signal_spec import SignalSpec
from .dictionary import fit
from .store import NoiseDictionary
from .time_range import parse_time_range

#: Greatest number of atoms, and least number of frames per atom: from fewer frames an atom would overfit.
ATOMS, FRAMES_PER_ATOM = 8, 10
ITERATIONS = 100


def learn(
    text: str, power: Callable[[int, int], torch.Tensor], samples: int, signal: SignalSpec
) -> NoiseDictionary:
    """A dictionary of the noise segment ``text``, such as 0:00-0:02.5, of a recording of ``samples`` samples.

    ``power(first, last)`` returns |x|^2 of the frames ``first`` to ``last - 1``, (last - first, F).
    ``signal`` is the prior's; frames are placed as :class:`~vae_se.stft.STFT` places them. Only frames that
    lie entirely in the noise segment are used.

    Raises UsageError where the noise segment leaves the recording or is too short, AudioError where it is
    silent.
    """
    start, stop = parse_time_range(text)
    length = samples / signal.rate
    # Tolerance of 0.1 s: a player may round the end of the recording up.
    if start >= length or stop > length + 0.1:
        raise UsageError(
            f"the noise segment {text} leaves the recording, which is {length:.2f} s long", "name a part of it"
        )
    # Frame n covers the samples from (n + 1) hop - window to (n + 1) hop.
    first = -(-(round(start * signal.rate) + signal.window - signal.hop) // signal.hop)
    last = min(round(stop * signal.rate), samples) // signal.hop  # the first frame after the segment
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
