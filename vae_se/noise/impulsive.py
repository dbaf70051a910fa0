"""Clicks, knocks and keystrokes: broad-band atoms that start in the frames where they explain the recording."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ..rng import Streams
from .base import NOISES
from .multiplicative import NMFState
from .nmf import NMF

#: Of the power of a frame, the parts that a broad-band atom is proposed to start with.
SHARES = (0.3, 1.0)
# Where an atom that some frame wants does not start it is 30 dB below the steady noise: not 0, which no update
# could leave, as the next blow of a knock is often too faint to be found.
_REST = 1e-3
# Frames: a rise is what exceeds the median of so many around it, 0.2 s, which no click outlasts.
_AROUND = 13
# Bins: speech leaves its lines in the mean rise, impulses do not.
_SMOOTH = 17


@NOISES.add("impulsive")
@dataclasses.dataclass(frozen=True)
class Impulsive(NMF):
    """``nmf`` with five more atoms, smooth over frequency: the mean of what rises suddenly in the recording,
    and flat, pink (1/f), brown (1/f^2) and rising spectra.

    EM from an even start lets the speech explain a click, and never leaves that: the noise is quiet there, so
    the latents move to the click, after which there is nothing left for the noise. So each of these atoms is
    proposed for each frame, with SHARES of its power, and inference/initialisation.py keeps what makes the frame
    likeliest. The atoms are learnt from there on as all others are. Those that no frame wants are not in the
    model: smooth spectra that are free to grow would take the place of speech, and where nothing is impulsive
    this model is ``nmf``.

    ``margin``: nats by which a frame must be likelier with an impulse than without one. The procedure is ours.
    """

    competes: ClassVar[bool] = True

    margin: float = 15.0

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """The start of ``nmf``, and the broad-band atoms silent."""
        steady = super().init(power, mask, streams)
        atoms = _shapes(power, mask)
        silent = steady.h.new_zeros(*mask.shape, atoms.shape[1])
        return NMFState(torch.cat([steady.w, atoms], 1), torch.cat([steady.h, silent], -1))

    def rivals(self, state: NMFState, power: torch.Tensor, mask: torch.Tensor) -> list[NMFState]:
        """One state for each broad-band atom and share: that atom as loud in every frame."""
        states = []
        for k in range(self.rank, state.w.shape[1]):
            # The level at which this atom alone is likeliest.
            alone = (power / state.w[:, k : k + 1]).mean(-1) * mask
            for share in SHARES:
                h = state.h.clone()
                h[..., k] += share * alone
                states.append(NMFState(state.w, h))
        return states

    def pick(self, states: list[NMFState], choice: torch.Tensor) -> NMFState:
        """In frame n the activations of state ``choice`` (B, N); atoms that any frame chose rest elsewhere."""
        h = torch.stack([state.h for state in states])
        index = choice[None, ..., None].expand(1, *h.shape[1:])
        h, steady = h.gather(0, index)[0], states[0]
        rest = _REST * self.variance(steady).mean(-1, keepdim=True)
        wanted = (h[..., self.rank :] > steady.h[..., self.rank :]).any(1, keepdim=True)
        return NMFState(steady.w, torch.cat([h[..., : self.rank], h[..., self.rank :] + rest * wanted], -1))


def _shapes(power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The broad-band spectra (B, 5, F), each of mean 1."""
    batch, _, bins = power.shape
    frequency = torch.linspace(0, 1, bins, dtype=power.dtype, device=power.device)
    fixed = torch.stack(
        [torch.ones_like(frequency), 1 / (frequency + 0.02), 1 / (frequency + 0.01) ** 2, frequency + 0.02]
    )
    lengths = mask.sum(-1).long().tolist()
    rises = torch.stack([_rise(row[:n]) for row, n in zip(power, lengths, strict=True)])
    atoms = torch.cat([rises.unsqueeze(1), fixed.expand(batch, -1, -1)], 1)
    return atoms / atoms.mean(-1, keepdim=True)


def _rise(power: torch.Tensor) -> torch.Tensor:
    """The mean of what exceeds the median of the frames around, smooth over bins: (N, F) to (F,)."""
    half = _AROUND // 2
    frames = torch.arange(len(power), device=power.device)
    around = (frames[:, None] + torch.arange(-half, half + 1, device=power.device)).clamp(0, len(power) - 1)
    rise = (power - power[around].median(1).values).clamp(min=0).mean(0)
    smooth = torch.nn.functional.avg_pool1d(
        rise[None, None], _SMOOTH, 1, _SMOOTH // 2, count_include_pad=False
    )[0, 0]
    # Where nothing rises, a single frame for one, it is the mean that is smoothed out of existence.
    return smooth + 1e-3 * power.mean()
