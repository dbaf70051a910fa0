"""Layers of the priors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from ..errors import UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}


def stack(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given sizes, each followed by the activation.

    Raises UsageError for an unknown activation.

    >>> [type(layer).__name__ for layer in stack([3, 4, 5], "tanh")]
    ['Linear', 'Tanh', 'Linear', 'Tanh']
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation {activation!r}", "known: " + ", ".join(ACTIVATIONS))
    layers: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        linear = nn.Linear(size_in, size_out)
        # On the meta device there is nothing to initialise, and trying imports torch's compiler: 0.9 s.
        if not linear.weight.is_meta:
            gain = nn.init.calculate_gain("tanh") if activation == "tanh" else 1.4
            nn.init.xavier_normal_(linear.weight, gain=gain)
            nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
