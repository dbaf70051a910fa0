"""Low-rank noise: Itakura-Saito non-negative matrix factorisation under weighted draws of the speech."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from ..errors import UsageError
from ..numerics import TINY, VARIANCE_FLOOR
from ..rng import Streams
from .base import NOISES


@dataclasses.dataclass(frozen=True)
class NMFState:
    """Spectra W (B, K, F), each of mean 1 over bins, and activations H (B, N, K)."""

    w: torch.Tensor
    h: torch.Tensor


def _mean(power: torch.Tensor) -> torch.Tensor:
    return power.mean(0)


def _quiet(power: torch.Tensor) -> torch.Tensor:
    # The level that a bin exceeds in four frames of five. A fifth of exponentially distributed powers
    # lies below -log(0.8) = 0.22 of their mean, so dividing makes it unbiased for even noise.
    rank = max(1, round(0.2 * power.shape[0]))
    return power.kthvalue(rank, dim=0).values / 0.2231


def _log_mean(power: torch.Tensor) -> torch.Tensor:
    # exp(gamma) makes the geometric mean of exponentially distributed powers unbiased.
    return power.log().mean(0).exp() * 1.7810724


_STARTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": _mean,
    "quiet": _quiet,
    "log-mean": _log_mean,
}


@NOISES.add("nmf")
@dataclasses.dataclass(frozen=True)
class NMF:
    """b_fn ~ N_c(0, (W H)_fn), rank K.

    Updates (majorise-minimise, hence the exponent 1/2): Leglaive, Girin and Horaud, A variance modeling
    framework based on variational autoencoders for speech enhancement, 2018, eqs. 20 and 21, with the
    mean over draws replaced by the weighted mean. Févotte, Bertin and Durrieu, Nonnegative matrix
    factorization with the Itakura-Saito divergence, 2009, for the model.

    ``rank``: K. ``start``: the spectrum around which W starts: "quiet" (the lower fifth of the frames, bin
    by bin), "log-mean" (geometric mean over frames) or "mean", times ``level``: a start above the noise
    lets the dictionary take its share first and the speech what is left, which ends in a better basin
    than the reverse (eval/results/start.md). H starts near 1. ``spread``: W and H are multiplied by seeded
    uniform numbers from 1 - spread to 1 + spread, so that atoms differ.
    """

    rank: int = 8
    start: str = "quiet"
    level: float = 2.0
    spread: float = 0.8

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"noise rank {self.rank}", "it is at least 1")
        if self.start not in _STARTS:
            raise UsageError(f"unknown start {self.start!r} of the noise model", "known: " + ", ".join(_STARTS))
        if not self.level > 0:
            raise UsageError(f"level {self.level} of the noise model's start", "it is above 0")
        if not 0 < self.spread < 1:
            raise UsageError(f"spread {self.spread} of the noise model's start", "it lies between 0 and 1")

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """W around a spectrum of the recording, H around 1."""
        bins, dtype = power.shape[-1], power.dtype
        lengths = mask.sum(-1).long().tolist()
        spectrum = torch.stack([_STARTS[self.start](row[:n]) for row, n in zip(power, lengths, strict=True)])
        jitter_w = 1 + self.spread * (2 * streams.uniform_table(self.rank, bins, dtype=dtype) - 1)
        jitter_h = 1 + self.spread * (2 * streams.uniform(self.rank, dtype=dtype) - 1)
        w = self.level * spectrum.unsqueeze(1) * jitter_w / self.rank
        return _normalise(w, jitter_h * mask.unsqueeze(-1))

    def variance(self, state: NMFState) -> torch.Tensor:
        """W H, (B, N, F)."""
        return (state.h @ state.w).clamp_(min=VARIANCE_FLOOR)

    def update(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> NMFState:
        """H, then W, each with fresh statistics, so that neither step lowers the likelihood."""
        weight = (log_weight.exp() * mask.unsqueeze(1)).unsqueeze(-1)
        w, h = state.w, state.h
        above, below = _statistics(power, speech_variance, self.variance(state), weight)
        w_t = w.transpose(1, 2)
        h = h * torch.sqrt((above @ w_t) / (below @ w_t + TINY))
        above, below = _statistics(power, speech_variance, self.variance(NMFState(w, h)), weight)
        h_t = h.transpose(1, 2)
        w = w * torch.sqrt((h_t @ above) / (h_t @ below + TINY))
        return _normalise(w, h)


def _statistics(
    power: torch.Tensor, speech: torch.Tensor, noise: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_r w_r |x|^2 / V_r^2 and sum_r w_r / V_r with V_r = speech_r + noise, both (B, N, F)."""
    inverse = (speech + noise.unsqueeze(1)).reciprocal_()
    below = (weight * inverse).sum(1)
    above = (weight * inverse.square_()).sum(1).mul_(power)
    return above, below


def _normalise(w: torch.Tensor, h: torch.Tensor) -> NMFState:
    """Move the scale of every atom into its activations: W then has mean 1 over bins."""
    scale = w.mean(-1, keepdim=True).clamp(min=TINY)
    return NMFState(w / scale, h * scale.transpose(1, 2))
