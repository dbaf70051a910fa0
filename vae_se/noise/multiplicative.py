"""What noise models that are a product W H share: its state, where it starts, and the multiplicative updates.

Derived in docs/noise.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch

from ..blocks import frame_blocks
from ..errors import UsageError
from ..numerics import TINY, VARIANCE_FLOOR
from .tracking import mmse_tracker


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


def tracked(power: torch.Tensor) -> torch.Tensor:
    """The noise power (N, F) that the MMSE tracker finds in power (N, F).

    Its constants are taken for frames 16 ms apart, as they were published and as the shipped priors have them.
    """
    noise = mmse_tracker(power.cpu().double().numpy(), 0.016)
    return torch.from_numpy(noise).to(power).clamp_(min=VARIANCE_FLOOR)


def _tracked_mean(power: torch.Tensor) -> torch.Tensor:
    return tracked(power).mean(0)


_INIT_SPECTRA: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": _mean,
    "quiet": _quiet,
    "log-mean": _log_mean,
    "tracked": _tracked_mean,
}


def check_init(init_spectrum: str, init_scale: float, init_jitter: float) -> None:
    """UsageError unless ``init_spectrum`` is known, ``init_scale`` above 0 and ``init_jitter`` between 0 and 1."""
    if init_spectrum not in _INIT_SPECTRA:
        raise UsageError(f"unknown noise.init_spectrum {init_spectrum!r}", "known: " + ", ".join(_INIT_SPECTRA))
    if not init_scale > 0:
        raise UsageError(f"noise.init_scale = {init_scale}", "it is above 0")
    if not 0 < init_jitter < 1:
        raise UsageError(f"noise.init_jitter = {init_jitter}", "it lies between 0 and 1")


def init_spectrum(name: str, power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The spectrum (B, F) called ``name``, of power (B, N, F) where the mask (B, N) is 1."""
    lengths = mask.sum(-1).long().tolist()
    return torch.stack([_INIT_SPECTRA[name](row[:n]) for row, n in zip(power, lengths, strict=True)])


def product(state: NMFState) -> torch.Tensor:
    """W H, (B, N, F), at least VARIANCE_FLOOR."""
    return (state.h @ state.w).clamp_(min=VARIANCE_FLOOR)


def draw_weight(log_weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The draws' weights (B, R, N, 1), zero in frames that do not exist."""
    return (log_weight.exp() * mask.unsqueeze(1)).unsqueeze(-1)


def update_h(
    state: NMFState, power: torch.Tensor, speech: torch.Tensor, weight: torch.Tensor, exponent: float = 0.5
) -> torch.Tensor:
    """One step of all activations, W held; ``speech`` (B, R, N, F), result (B, N, K).

    ``exponent``: 1/2 goes to the majoriser's minimum, 1 to the far side of it where the majoriser is as high as
    it was; the cost, which is below it, does not rise in either (docs/noise.md).
    """
    w_t = state.w.transpose(1, 2)
    ratio = torch.empty_like(state.h)
    for frames, above, below in _statistics(state, power, speech, weight):
        torch.div(above @ w_t, (below @ w_t).add_(TINY), out=ratio[:, frames])
    return ratio.pow_(exponent).mul_(state.h)


def update_w(
    state: NMFState,
    power: torch.Tensor,
    speech: torch.Tensor,
    weight: torch.Tensor,
    fixed: int = 0,
    exponent: float = 0.5,
) -> torch.Tensor:
    """One such step of the spectra after the first ``fixed``, H held; result (B, K - fixed, F)."""
    w = state.w[:, fixed:]
    numerator, denominator = spectrum_sums(state, power, speech, weight, fixed)
    return numerator.div_(denominator).pow_(exponent).mul_(w)


def spectrum_sums(
    state: NMFState, power: torch.Tensor, speech: torch.Tensor, weight: torch.Tensor, fixed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_n H P and sum_n H Q of docs/noise.md for the spectra after the first ``fixed``, (B, K - fixed, F)."""
    h_t = state.h[..., fixed:].transpose(1, 2)
    # Not 0 / TINY: the spectrum of an atom that is silent throughout stays what it is.
    numerator = torch.full_like(state.w[:, fixed:], TINY)
    denominator = torch.full_like(numerator, TINY)
    for frames, above, below in _statistics(state, power, speech, weight):
        numerator += h_t[..., frames] @ above
        denominator += h_t[..., frames] @ below
    return numerator, denominator


def _statistics(
    state: NMFState, power: torch.Tensor, speech: torch.Tensor, weight: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """For block after block of frames: sum_r w_r |x|^2 / V_r^2 and sum_r w_r / V_r with V_r = speech_r + W H,
    both (B, block, F)."""
    speech = speech.expand(*weight.shape[:3], power.shape[-1])
    for frames in frame_blocks(speech):
        noise = product(NMFState(state.w, state.h[:, frames]))
        inverse = (speech[:, :, frames] + noise.unsqueeze(1)).reciprocal_()
        weighted = weight[:, :, frames] * inverse
        below = weighted.sum(1)
        yield frames, weighted.mul_(inverse).sum(1).mul_(power[:, frames]), below


def normalise(w: torch.Tensor, h: torch.Tensor) -> NMFState:
    """Move the scale of every atom into its activations: W then has mean 1 over bins."""
    scale = w.mean(-1, keepdim=True).clamp(min=TINY)
    return NMFState(w / scale, h * scale.transpose(1, 2))
