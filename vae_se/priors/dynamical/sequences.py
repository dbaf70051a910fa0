"""Small pure functions on sequences of a ragged batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...errors import UsageError, nearest
from .linear_recurrence import MinGRU

#: A recurrent layer: a sequence (M, N, D) to the states (M, N, H) and the last one.
Recurrent = nn.GRU | MinGRU

#: Kinds of recurrent layers, by the name of the option ``cell``.
CELLS = ("gru", "mingru")


def recurrent(cell: str, input_size: int, hidden_size: int) -> Recurrent:
    """A recurrent layer of the kind ``cell``; UsageError where there is no such kind."""
    if cell not in CELLS:
        raise UsageError(f"cell = {cell!r} of a prior", nearest(cell, CELLS))
    if cell == "mingru":
        return MinGRU(input_size, hidden_size)
    return nn.GRU(input_size, hidden_size, batch_first=True)


def shifted(sequence: torch.Tensor) -> torch.Tensor:
    """The sequence (M, N, D) delayed by one step; zeros at the first step.

    >>> shifted(torch.tensor([[[1.0], [2.0], [3.0]]])).flatten().tolist()
    [0.0, 1.0, 2.0]
    """
    return functional.pad(sequence, (0, 0, 1, 0))[:, :-1]


def reversed_in_time(sequence: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Each sequence (M, N, D) reversed within its length, given by ``mask`` (M, N); padding stays at the end.

    >>> reversed_in_time(torch.tensor([[[1.0], [2.0], [0.0]]]), torch.tensor([[1, 1, 0]])).flatten().tolist()
    [2.0, 1.0, 0.0]
    """
    if mask is None:
        return sequence.flip(1)
    steps = torch.arange(sequence.shape[1], device=sequence.device)
    length = mask.sum(-1, keepdim=True).long()
    index = torch.where(steps < length, length - 1 - steps, steps)
    return sequence.gather(1, index.unsqueeze(-1).expand_as(sequence))


def run(layer: Recurrent, sequence: torch.Tensor) -> torch.Tensor:
    """Outputs (M, N, H) of a recurrent layer over a sequence (M, N, D)."""
    out: torch.Tensor = layer(sequence)[0]
    return out


def run_backwards(layer: Recurrent, sequence: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Outputs (M, N, H) of a recurrent layer from the last step to the first: step n depends on n..N."""
    return reversed_in_time(run(layer, reversed_in_time(sequence, mask)), mask)


def step(layer: Recurrent, now: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """One step of a one-layer recurrent network: input (M, D) and state (M, H) to the new state (M, H).

    It has the weights of :func:`run`, for recursions in which an input depends on an earlier output.
    """
    if isinstance(layer, MinGRU):
        return layer.step(now, state)
    return torch.gru_cell(now, state, *layer.all_weights[0])
