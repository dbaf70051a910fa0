"""Several optimisers as one, and the choice of optimisers for a noisy encoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import nn

from .muon import Muon


class Optimiser(Protocol):
    """What the training loop needs of an optimiser; torch.optim.Optimizer has it."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters with their settings, of which the loop sets ``lr``."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """One step."""

    def state_dict(self) -> dict[str, Any]:
        """The state, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore a state."""


class Together:
    """Optimisers of distinct parameters that take their steps together."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return list(itertools.chain.from_iterable(part.param_groups for part in self.parts))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the states of the parts; ValueError where there is another number of them."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def muon_and_adamw(model: nn.Module, learning_rate: float) -> Optimiser:
    """Muon for the matrices of ``model``, AdamW without weight decay for all else (convolution kernels too).

    After Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """
    matrices = [p for p in _trained(model) if p.ndim == 2]
    others = [p for p in _trained(model) if p.ndim != 2]
    adamw = torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    both = Together(adamw, *([Muon(matrices, lr=learning_rate)] if matrices else []))
    for group in both.param_groups:
        group["scale"] = 1.0
    return both


def _trained(model: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in model.parameters() if p.requires_grad)
