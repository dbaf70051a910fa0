"""The parts shared by models whose variance is a product W H: state, initial spectra, multiplicative updates.

docs/noise.md derives the updates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from ..blocks import frame_blocks
from ..errors import UsageError
from ..numerics import TINY, VARIANCE_FLOOR
from ..signal_spec import SignalSpec
from ..threads import each
from .base import NoiseState
from .tracking import mmse_tracker


@dataclasses.dataclass(frozen=True)
class NMFState(NoiseState):
    """Spectra W (B, K, F), each of mean 1 over bins, and activations H (B, N, K)."""

    w: torch.Tensor
    h: torch.Tensor


def _mean(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    return power.mean(0)


def _quiet(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    # The 0.2 quantile over frames. For exponentially distributed powers it is -log(0.8) = 0.2231 times the
    # mean, so the division makes it an unbiased estimate for stationary noise.
    rank = max(1, round(0.2 * power.shape[0]))
    bins = np.ascontiguousarray(power.cpu().numpy().T)  # five times as fast as torch along the frames
    return torch.from_numpy(np.partition(bins, rank - 1)[:, rank - 1]).to(power) / 0.2231


def _log_mean(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    # The factor exp(gamma) makes the geometric mean of exponentially distributed powers unbiased.
    return power.log().mean(0).exp() * 1.7810724


def _tracked_mean(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    return tracked(power, signal).mean(0)


_INIT_SPECTRA: dict[str, Callable[[torch.Tensor, SignalSpec], torch.Tensor]] = {
    "mean": _mean,
    "quiet": _quiet,
    "log-mean": _log_mean,
    "tracked": _tracked_mean,
}


def tracked(power: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    """The noise power (N, F) that the MMSE tracker estimates from power (N, F) with the hop of ``signal``."""
    noise = mmse_tracker(power.cpu().double().numpy(), signal.hop / signal.rate)
    return torch.from_numpy(noise).to(power).clamp_(min=VARIANCE_FLOOR)


def check_init(init_spectrum: str, init_scale: float, init_jitter: float) -> None:
    """Raise UsageError unless the spectrum is known, the scale above 0 and the jitter between 0 and 1.

    >>> check_init("quiet", 2.0, 0.8)
    >>> check_init("loud", 2.0, 0.8)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vae_se.errors.UsageError: unknown noise.init_spectrum 'loud' (known: ...)
    """
    if init_spectrum not in _INIT_SPECTRA:
        raise UsageError(f"unknown noise.init_spectrum {init_spectrum!r}", "known: " + ", ".join(_INIT_SPECTRA))
    if not init_scale > 0:
        raise UsageError(f"noise.init_scale = {init_scale}", "it is above 0")
    if not 0 < init_jitter < 1:
        raise UsageError(f"noise.init_jitter = {init_jitter}", "it lies between 0 and 1")


def initial_spectrum(name: str, power: torch.Tensor, mask: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    """The spectrum (B, F) that the setting ``init_spectrum`` calls ``name``.

    It is computed from the valid frames of power (B, N, F); the mask (B, N) is 1 where a frame is valid.

    >>> power = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    >>> initial_spectrum("mean", power, torch.tensor([[1.0, 1.0, 0.0]]), SignalSpec())
    tensor([[2., 3.]])
    """
    lengths = mask.sum(-1).long().tolist()
    return torch.stack([_INIT_SPECTRA[name](row[:n], signal) for row, n in zip(power, lengths, strict=True)])


def product(state: NMFState) -> torch.Tensor:
    """W H, (B, N, F), at least VARIANCE_FLOOR.

    >>> product(NMFState(torch.tensor([[[0.5, 1.5]]]), torch.tensor([[[2.0], [4.0]]])))
    tensor([[[1., 3.],
             [2., 6.]]])
    """
    return (state.h @ state.w).clamp_(min=VARIANCE_FLOOR)


def draw_weight(log_weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Weights (B, R, N, 1) of the draws, from log-weights (B, R, N); 0 in frames that are not valid."""
    return (log_weight.exp() * mask.unsqueeze(1)).unsqueeze(-1)


def update_h(
    state: NMFState,
    power: torch.Tensor,
    speech_variance: torch.Tensor | None,
    weight: torch.Tensor | None,
    exponent: float = 0.5,
) -> torch.Tensor:
    """One multiplicative step of all activations with W held fixed; the result is (B, N, K).

    ``speech_variance`` is (B, R, N, F), ``weight`` as :func:`draw_weight` returns it; both None: there is no
    speech, and H is 0 in frames that are not valid. An ``exponent`` of 1/2
    goes to the minimum of the majoriser; 1 goes to the point beyond it where the majoriser has its present
    value again. The cost does not increase for any exponent from 0 to 1 (docs/noise.md).
    """
    w_t = state.w.transpose(1, 2)
    ratio = torch.empty_like(state.h)

    def of_block(frames: slice) -> None:
        above, below = weighted_ratios(state, power, speech_variance, weight, frames)
        torch.div(above @ w_t, (below @ w_t).add_(TINY), out=ratio[:, frames])

    each(of_block, blocks_of(power, weight))
    return ratio.pow_(exponent).mul_(state.h)


def update_w(
    state: NMFState,
    power: torch.Tensor,
    speech_variance: torch.Tensor | None,
    weight: torch.Tensor | None,
    fixed: int = 0,
    exponent: float = 0.5,
) -> torch.Tensor:
    """One multiplicative step of the spectra after the first ``fixed``, H held fixed: (B, K - fixed, F)."""
    w = state.w[:, fixed:]
    numerator, denominator = spectrum_sums(state, power, speech_variance, weight, fixed)
    return numerator.div_(denominator).pow_(exponent).mul_(w)


def spectrum_sums(
    state: NMFState,
    power: torch.Tensor,
    speech_variance: torch.Tensor | None,
    weight: torch.Tensor | None,
    fixed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_n H P and sum_n H Q of docs/noise.md, (B, K - fixed, F), for spectra after the first ``fixed``."""
    h_t = state.h[..., fixed:].transpose(1, 2)
    # Both sums start at TINY: the spectrum of an atom that is silent throughout keeps its values.
    numerator = torch.full_like(state.w[:, fixed:], TINY)
    denominator = torch.full_like(numerator, TINY)

    def of_block(frames: slice) -> tuple[torch.Tensor, torch.Tensor]:
        above, below = weighted_ratios(state, power, speech_variance, weight, frames)
        return h_t[..., frames] @ above, h_t[..., frames] @ below

    for above, below in each(of_block, blocks_of(power, weight)):
        numerator += above
        denominator += below
    return numerator, denominator


def blocks_of(power: torch.Tensor, weight: torch.Tensor | None) -> list[slice]:
    """The blocks of frames in which power (B, N, F) is processed under draws with ``weight`` (B, R, N, 1)."""
    return frame_blocks(power.unsqueeze(1).expand(-1, 1 if weight is None else weight.shape[1], -1, -1))


def weighted_ratios(
    state: NMFState,
    power: torch.Tensor,
    speech_variance: torch.Tensor | None,
    weight: torch.Tensor | None,
    frames: slice,
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_r w_r |x|^2 / V_r^2 and sum_r w_r / V_r in a block of ``frames``, (B, block, F) each.

    V_r = speech_r + W H is the variance of the recording under draw r; without speech and weights it is W H.
    """
    noise = product(NMFState(state.w, state.h[:, frames]))
    if speech_variance is None or weight is None:
        below = noise.reciprocal_()
        return below.square().mul_(power[:, frames]), below
    speech_variance = speech_variance.expand(-1, -1, power.shape[1], -1)
    inverse = (speech_variance[:, :, frames] + noise.unsqueeze(1)).reciprocal_()
    below = weight[:, :, frames] * inverse
    above = inverse.mul_(below)
    return _over_draws(above).mul_(power[:, frames]), _over_draws(below)


def _over_draws(values: torch.Tensor) -> torch.Tensor:
    """The sum over R of (B, R, N, F); for one draw without a copy."""
    return values[:, 0] if values.shape[1] == 1 else values.sum(1)


def normalise(w: torch.Tensor, h: torch.Tensor) -> NMFState:
    """The same product with the scale of every atom moved from W to H: W then has mean 1 over bins.

    >>> normalise(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0]]]))
    NMFState(w=tensor([[[0.5000, 1.5000]]]), h=tensor([[[10.]]]))
    """
    scale = w.mean(-1, keepdim=True).clamp(min=TINY)
    return NMFState(w / scale, h * scale.transpose(1, 2))
