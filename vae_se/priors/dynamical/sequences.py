"""Small pure functions on sequences of a ragged batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def shifted(sequence: torch.Tensor) -> torch.Tensor:
    """What was there one step before, (M, N, D); zeros at the first step."""
    return functional.pad(sequence, (0, 0, 1, 0))[:, :-1]


def reversed_in_time(sequence: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Each sequence (M, N, D) backwards within its own length (``mask`` (M, N)); padding stays at the end."""
    if mask is None:
        return sequence.flip(1)
    steps = torch.arange(sequence.shape[1], device=sequence.device)
    length = mask.sum(-1, keepdim=True).long()
    index = torch.where(steps < length, length - 1 - steps, steps)
    return sequence.gather(1, index.unsqueeze(-1).expand_as(sequence))


def run(layer: nn.GRU, sequence: torch.Tensor) -> torch.Tensor:
    """Outputs (M, N, H) of a recurrent layer over a sequence (M, N, D)."""
    out: torch.Tensor = layer(sequence)[0]
    return out


def run_backwards(layer: nn.GRU, sequence: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The same from the last step of each sequence to its first: step n has seen n to the end."""
    return reversed_in_time(run(layer, reversed_in_time(sequence, mask)), mask)


def step(layer: nn.GRU, now: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of a one-layer recurrent network: input (M, D) and state (M, H) to the new state.

    The same weights as :func:`run`, for what has to be done step by step (a test holds them equal).
    """
    return torch.gru_cell(now, state, *layer.all_weights[0])
