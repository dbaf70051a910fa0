"""Noise with a tracked spectrum: the tracker runs once before EM, and EM fits the level of each frame."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from ..numerics import VARIANCE_FLOOR
from ..rng import Streams
from .activation_penalty import ActivationPenalty
from .base import NOISES, NoiseModel, NoiseState
from .multiplicative import NMFState, draw_weight, tracked, update_h


@dataclasses.dataclass(frozen=True)
class StationaryState(NoiseState):
    """The tracked ``spectrum`` (B, N, F), fixed, and the fitted ``gain`` (B, N)."""

    spectrum: torch.Tensor
    gain: torch.Tensor


@NOISES.add("stationary")
@dataclasses.dataclass(frozen=True)
class Stationary(NoiseModel[StationaryState]):
    """b_fn ~ N_c(0, a_n t_fn), with t tracked in the noisy recording and a_n fitted.

    t: Gerkmann and Hendriks, Unbiased MMSE-based noise power estimation with low complexity and low tracking
    delay, 2012 (:func:`vae_se.noise.tracking.mmse_tracker`). The update of a_n is that of ``nmf`` with one
    flat atom, on the recording divided by sqrt(t). ``init_scale``: the initial a_n. ``smoothness``: weight of
    the Itakura-Saito divergence between neighbouring a_n
    (:class:`~vae_se.noise.activation_penalty.ActivationPenalty`).

    Raises UsageError for a setting outside its range.
    """

    init_scale: float = 2.0
    smoothness: float = 50.0

    def __post_init__(self) -> None:
        if not self.init_scale > 0:
            raise UsageError(f"noise.init_scale = {self.init_scale}", "it is above 0")
        self.penalty  # noqa: B018 - constructing it checks the weight

    @property
    def penalty(self) -> ActivationPenalty:
        """The penalty on the level."""
        return ActivationPenalty(smoothness=self.smoothness)

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> StationaryState:
        """The tracked spectrum, with a_n = ``init_scale``."""
        spectrum = torch.ones_like(power)
        for row, length, noisy in zip(spectrum, mask.sum(-1).long().tolist(), power, strict=True):
            row[:length] = tracked(noisy[:length], self.signal)
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
        """Update the level."""
        flat = power.new_ones(power.shape[0], 1, power.shape[-1])
        weight, nmf = draw_weight(log_weight, mask), NMFState(flat, state.gain.unsqueeze(-1))
        power, speech_variance = power / state.spectrum, speech_variance / state.spectrum.unsqueeze(1)
        if self.penalty:
            h = self.penalty.update_h(nmf, power, speech_variance, weight, mask)
        else:
            h = update_h(nmf, power, speech_variance, weight)
        return StationaryState(state.spectrum, h.squeeze(-1))
