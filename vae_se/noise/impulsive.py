"""Clicks, knocks and keystrokes: broad-band atoms that are switched on in the frames that they explain."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch

from ..rng import Streams
from ..signal_spec import SignalSpec
from .base import NOISES
from .multiplicative import NMFState
from .nmf import NMF

#: Fractions of the power of a frame at which a broad-band atom is proposed.
POWER_FRACTIONS = (0.3, 1.0)
#: Half the length in seconds of the running median that estimates the level around an impulse: no click
#: outlasts it.
MEDIAN_HALF_SECONDS = 0.1
#: Half the width in Hz of the smoothing of the mean rise: it removes the harmonics of speech, and keeps
#: impulses.
SMOOTHING_HALF_HZ = 125.0
# Where an atom that some frame uses is not switched on, it starts 30 dB below the steady noise. It cannot
# start at 0, which the multiplicative updates never leave, because the next knock of a series may be too
# faint to be found.
_SWITCHED_OFF = 1e-3


@NOISES.add("impulsive")
@dataclasses.dataclass(frozen=True)
class Impulsive(NMF):
    """``nmf`` with five more atoms that are smooth over frequency.

    Their spectra are the mean of the sudden rises in the recording, and flat, pink (1/f), brown (1/f^2) and
    rising spectra.

    If EM starts with the same noise level in all frames, the speech explains a click first, and the noise
    model never recovers it. Therefore each of these atoms is proposed in each frame, with POWER_FRACTIONS of
    its power, and inference/initialisation.py keeps the proposal with the highest evidence. From then on
    these atoms are updated like all others. Atoms that no frame uses are switched off in the whole recording,
    because smooth spectra that are free to grow would replace speech; without impulses the model equals
    ``nmf``.

    ``margin``: nats by which an impulse must raise the log-evidence of a frame. The procedure is this
    project's.
    """

    has_alternatives: ClassVar[bool] = True

    margin: float = 15.0

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """The initial state of ``nmf``, with the broad-band atoms switched off."""
        steady = super().init(power, mask, streams)
        atoms = broad_band_atoms(power, mask, self.signal)
        silent = steady.h.new_zeros(*mask.shape, atoms.shape[1])
        return NMFState(torch.cat([steady.w, atoms], 1), torch.cat([steady.h, silent], -1))

    def alternatives(self, state: NMFState, power: torch.Tensor, mask: torch.Tensor) -> list[NMFState]:
        """One state per broad-band atom and fraction, with that atom switched on in every frame."""
        states = []
        for k in range(self.rank, state.w.shape[1]):
            # The maximum-likelihood level of this atom alone.
            alone = (power / state.w[:, k : k + 1]).mean(-1) * mask
            for fraction in POWER_FRACTIONS:
                h = state.h.clone()
                h[..., k] += fraction * alone
                states.append(NMFState(state.w, h))
        return states

    def pick(self, states: Sequence[NMFState], choice: torch.Tensor) -> NMFState:
        """In frame n the activations of state ``choice`` (B, N).

        In all other frames, atoms that some frame chose start 30 dB below the steady noise.
        """
        h = torch.stack([state.h for state in states])
        index = choice[None, ..., None].expand(1, *h.shape[1:])
        h, steady = h.gather(0, index)[0], states[0]
        rest = _SWITCHED_OFF * self.variance(steady).mean(-1, keepdim=True)
        used = (h[..., self.rank :] > steady.h[..., self.rank :]).any(1, keepdim=True)
        return NMFState(steady.w, torch.cat([h[..., : self.rank], h[..., self.rank :] + rest * used], -1))


def broad_band_atoms(power: torch.Tensor, mask: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    """The broad-band spectra (B, 5, F) for power (B, N, F), each of mean 1 over bins."""
    batch, _, bins = power.shape
    frequency = torch.linspace(0, 1, bins, dtype=power.dtype, device=power.device)
    fixed = torch.stack(
        [torch.ones_like(frequency), 1 / (frequency + 0.02), 1 / (frequency + 0.01) ** 2, frequency + 0.02]
    )
    lengths = mask.sum(-1).long().tolist()
    rises = torch.stack([_mean_rise(row[:n], signal) for row, n in zip(power, lengths, strict=True)])
    atoms = torch.cat([rises.unsqueeze(1), fixed.expand(batch, -1, -1)], 1)
    return atoms / atoms.mean(-1, keepdim=True)


def half_widths(signal: SignalSpec) -> tuple[int, int]:
    """Frames on either side in the running median, and bins on either side in the smoothing over frequency.

    >>> half_widths(SignalSpec(rate=16000, window=1024, hop=256))
    (6, 8)
    """
    frames = round(MEDIAN_HALF_SECONDS * signal.rate / signal.hop)
    return frames, round(SMOOTHING_HALF_HZ * signal.window / signal.rate)


def _mean_rise(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    """Mean excess (F,) of power (N, F) over its running median, smoothed over bins."""
    half_frames, half_bins = half_widths(signal)
    frames = torch.arange(len(power), device=power.device)
    offsets = torch.arange(-half_frames, half_frames + 1, device=power.device)
    around = (frames[:, None] + offsets).clamp(0, len(power) - 1)
    rise = (power - power[around].median(1).values).clamp(min=0).mean(0)
    smooth = torch.nn.functional.avg_pool1d(
        rise[None, None], 2 * half_bins + 1, 1, half_bins, count_include_pad=False
    )[0, 0]
    # Keeps the spectrum above 0 where nothing rises, for example in a recording of one frame.
    return smooth + 1e-3 * power.mean()
