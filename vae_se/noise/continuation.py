"""Continuity of the noise between neighbouring segments or windows of a recording: the spectra carry over."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..numerics import FIT_UPDATES
from .base import NoiseState
from .multiplicative import NMFState, product, update_h


def spectra_of(state: NoiseState, row: int) -> torch.Tensor | None:
    """The spectra W (K, F) of recording ``row``; None where the state of the model is no NMFState."""
    return state.w[row] if isinstance(state, NMFState) else None


def start_from_spectra(
    state: NoiseState, spectra: Sequence[torch.Tensor | None], mask: torch.Tensor
) -> NoiseState:
    """The initial ``state`` of B segments, with the spectra that the segments before them ended with.

    ``spectra`` holds W (K, F) per segment, or None where there is no segment before. The activations are
    fitted to the variance of ``state`` with the spectra held fixed, so that the level stays that of
    ``state``. A segment without a predecessor keeps its state, and so do models whose state is no NMFState.
    """
    if not isinstance(state, NMFState) or all(w is None for w in spectra):
        return state
    w = torch.stack([own if old is None else old for own, old in zip(state.w, spectra, strict=True)])
    variance = product(state)
    h = fit_activations(w, variance, mask)
    new = torch.tensor([old is None for old in spectra], device=h.device)[:, None, None]
    return NMFState(w, torch.where(new, state.h, h))


def shift_window(
    state: NoiseState, before: NoiseState, shift: int, ratio: float, mask: torch.Tensor
) -> NoiseState:
    """The initial ``state`` of a window, with what an overlapping window has learnt.

    ``before``: the final state of the window that began ``shift`` frames earlier. ``ratio``: factor from the
    power scale of that window to the present one. The result has its spectra and, in the frames of both
    windows, its activations; in new frames the activations are fitted to the variance of ``state``. Models
    whose state is no NMFState keep ``state``.
    """
    if not isinstance(state, NMFState) or not isinstance(before, NMFState):
        return state
    old = before.h[:, shift:] * ratio
    new = fit_activations(before.w, product(state)[:, old.shape[1] :], mask[:, old.shape[1] :])
    return NMFState(before.w, torch.cat([old, new], 1))


def fit_activations(w: torch.Tensor, variance: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Activations (B, N, K) with which spectra (B, K, F) approximate a variance (B, N, F)."""
    h = variance.mean(-1, keepdim=True) / w.shape[1] * mask.unsqueeze(-1)
    weight, silence = mask[:, None, :, None], variance.new_zeros(1, 1, 1, 1)
    state = NMFState(w, h.expand(-1, -1, w.shape[1]))
    for _ in range(FIT_UPDATES):
        state = NMFState(w, update_h(state, variance, silence, weight))
    return state.h
