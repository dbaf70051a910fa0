"""Linear recurrences over time, h_n = a_n h_{n-1} + b_n, element by element, and a recurrent layer of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def linear_recurrence(decay: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """h_n = decay_n h_{n-1} + inputs_n with h_0 = 0, for ``decay`` and ``inputs`` (M, N, H).

    The N steps are cut into blocks of about sqrt(N). A loop runs through all blocks at the same time, a second
    one carries the last state of each block into the next: 2 sqrt(N) operations in place of N (a parallel scan
    in two levels: Blelloch, Prefix sums and their applications, 1990). It has a first derivative, not a second.

    >>> linear_recurrence(torch.full((1, 4, 1), 0.5), torch.ones(1, 4, 1)).flatten().tolist()
    [1.0, 1.5, 1.75, 1.875]
    """
    states: torch.Tensor = _LinearRecurrence.apply(decay, inputs)
    return states


class _LinearRecurrence(torch.autograd.Function):
    """The derivative by inputs_n, g_n, follows the same recurrence backwards: g_n = G_n + decay_{n+1} g_{n+1},
    with G the derivative by the states. That by decay_n is g_n h_{n-1}."""

    @staticmethod
    def forward(ctx: Any, decay: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        states = _scan(decay, inputs)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        decay, states = ctx.saved_tensors
        following = functional.pad(decay, (0, 0, 0, 1))[:, 1:]
        by_input = _scan(following.flip(1), gradients[0].flip(1)).flip(1)
        before = functional.pad(states, (0, 0, 1, 0))[:, :-1]
        return by_input * before, by_input


def _scan(decay: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The states of :func:`linear_recurrence`."""
    batch, steps, size = inputs.shape
    block = max(1, math.isqrt(steps))
    blocks = math.ceil(steps / block)
    padding = (0, 0, 0, blocks * block - steps)
    # (blocks, steps within a block, M, H): the loops below run over slices without gaps.
    shape = (batch, blocks, block, size)
    decays = functional.pad(decay, padding).view(shape).permute(2, 1, 0, 3).contiguous()
    states = functional.pad(inputs, padding).view(shape).permute(2, 1, 0, 3).contiguous()
    for k in range(1, block):
        states[k].addcmul_(decays[k], states[k - 1])
        decays[k].mul_(decays[k - 1])  # from the state before the block to its step k
    carried = torch.zeros_like(states[0])
    for c in range(1, blocks):
        carried[c] = torch.addcmul(states[-1, c - 1], decays[-1, c - 1], carried[c - 1])
    states.addcmul_(decays, carried)
    return states.permute(2, 1, 0, 3).reshape(batch, blocks * block, size)[:, :steps]


class MinGRU(nn.Module):
    """A gated layer whose gates depend on the input alone, so that its states are a linear recurrence:

    h_n = (1 - u_n) h_{n-1} + u_n c_n,  u_n = sigmoid(A x_n),  c_n = B x_n, with biases.

    Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, Were RNNs all we needed?, 2024, sec. 3.1 (minGRU). Called as
    ``torch.nn.GRU`` with ``batch_first``: (M, N, D) to the states (M, N, H) and the last one (1, M, H).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.gates = nn.Linear(input_size, 2 * hidden_size)
        with torch.no_grad():
            # Memories of 2 to 100 frames before training.
            self.gates.bias[:hidden_size] = torch.linspace(0.0, -4.6, hidden_size)

    def forward(self, sequence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States (M, N, H) for a sequence (M, N, D), from h_0 = 0; and the last one, (1, M, H)."""
        update, candidate = self.gates(sequence).chunk(2, -1)
        update = torch.sigmoid(update)
        states = linear_recurrence(1 - update, update * candidate)
        return states, states[:, -1].unsqueeze(0)

    def step(self, now: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """h_n (M, H) from x_n (M, D) and h_{n-1}."""
        update, candidate = self.gates(now).chunk(2, -1)
        return torch.lerp(state, candidate, torch.sigmoid(update))
