"""Noise whose spectrum is tracked before EM begins; EM learns its level alone."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from ..numerics import VARIANCE_FLOOR
from ..rng import Streams
from .base import NOISES, NoiseModel
from .multiplicative import NMFState, draw_weight, tracked, update_h
from .penalties import Penalty


@dataclasses.dataclass(frozen=True)
class StationaryState:
    """The tracked ``spectrum`` (B, N, F), and its ``gain`` (B, N), learnt."""

    spectrum: torch.Tensor
    gain: torch.Tensor


@NOISES.add("stationary")
@dataclasses.dataclass(frozen=True)
class Stationary(NoiseModel):
    """b_fn ~ N_c(0, a_n t_fn), t tracked in the noisy recording, a_n learnt.

    t: Gerkmann and Hendriks, Unbiased MMSE-based noise power estimation with low complexity and low tracking
    delay, 2012 (:func:`vae_se.noise.tracking.mmse_tracker`). a_n: the update of ``nmf`` with one flat atom on the
    recording divided by sqrt(t), started at ``init_scale`` and held by ``smoothness``, the weight of the
    Itakura-Saito divergence between neighbouring frames (penalties.py).
    """

    init_scale: float = 2.0
    smoothness: float = 50.0

    def __post_init__(self) -> None:
        if not self.init_scale > 0:
            raise UsageError(f"noise.init_scale = {self.init_scale}", "it is above 0")
        self.penalty  # noqa: B018 - it checks its weight

    @property
    def penalty(self) -> Penalty:
        """What the level is held to."""
        return Penalty(smoothness=self.smoothness)

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> StationaryState:
        """The tracked spectrum times ``init_scale``."""
        spectrum = torch.ones_like(power)
        for row, length, noisy in zip(spectrum, mask.sum(-1).long().tolist(), power, strict=True):
            row[:length] = tracked(noisy[:length])
        return StationaryState(spectrum, self.init_scale * mask)

    def variance(self, state: StationaryState) -> torch.Tensor:
        """a t, (B, N, F)."""
        return (state.gain.unsqueeze(-1) * state.spectrum).clamp_(min=VARIANCE_FLOOR)

    def update(
        self,
        state: StationaryState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> StationaryState:
        """The level."""
        flat = power.new_ones(power.shape[0], 1, power.shape[-1])
        weight, nmf = draw_weight(log_weight, mask), NMFState(flat, state.gain.unsqueeze(-1))
        power, speech = power / state.spectrum, speech_variance / state.spectrum.unsqueeze(1)
        if self.penalty:
            h = self.penalty.update_h(nmf, power, speech, weight, mask)
        else:
            h = update_h(nmf, power, speech, weight)
        return StationaryState(state.spectrum, h.squeeze(-1))
