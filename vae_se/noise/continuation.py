"""What a stretch of a recording tells the next one about the noise: its spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..numerics import FIT_UPDATES
from .multiplicative import NMFState, product, update_h


def spectra_of(state: Any, row: int) -> torch.Tensor | None:
    """The spectra W (K, F) of recording ``row`` of a noise model's state, where it has any."""
    return state.w[row] if isinstance(state, NMFState) else None


def start_from_spectra(state: Any, spectra: Sequence[torch.Tensor | None], mask: torch.Tensor) -> Any:
    """The start ``state`` of B stretches, with the spectra of those before them (None: there is none).

    The activations are fitted to the variance of ``state`` by the model's own updates, spectra held, so
    that the noise starts as loud as it would have, in shapes that are known already. A stretch without one
    before it is left as it is; so are models that have no spectra.
    """
    if not isinstance(state, NMFState) or all(w is None for w in spectra):
        return state
    w = torch.stack([own if old is None else old for own, old in zip(state.w, spectra, strict=True)])
    variance = product(state)
    h = fit_activations(w, variance, mask)
    new = torch.tensor([old is None for old in spectra], device=h.device)[:, None, None]
    return NMFState(w, torch.where(new, state.h, h))


def shift_window(state: Any, before: Any, shift: int, ratio: float, mask: torch.Tensor) -> Any:
    """The start ``state`` of a window, with what is known from a window that began ``shift`` frames earlier.

    ``before`` is the state that the earlier one ended with, at a scale of power from which ``ratio`` leads
    to the present one. Its spectra stay, and in frames of both windows so do its activations; in new frames
    they are fitted to the variance of ``state``. Models that have no spectra start anew.
    """
    if not isinstance(state, NMFState):
        return state
    old = before.h[:, shift:] * ratio
    new = fit_activations(before.w, product(state)[:, old.shape[1] :], mask[:, old.shape[1] :])
    return NMFState(before.w, torch.cat([old, new], 1))


def fit_activations(w: torch.Tensor, variance: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Activations (B, N, K) of spectra (B, K, F) that make a variance (B, N, F)."""
    h = variance.mean(-1, keepdim=True) / w.shape[1] * mask.unsqueeze(-1)
    weight, silence = mask[:, None, :, None], variance.new_zeros(1, 1, 1, 1)
    state = NMFState(w, h.expand(-1, -1, w.shape[1]))
    for _ in range(FIT_UPDATES):
        state = NMFState(w, update_h(state, variance, silence, weight))
    return state.h
