"""The roll-out of an autoregressive prior for given latents: a loop over frames with its derivative written
out."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

_silu_backward = torch.ops.aten.silu_backward


@dataclasses.dataclass(frozen=True)
class Loop:
    """Weights of the loop over frames, with H recurrent units:

    h_n = GRU(h_{n-1}; A p_n + d_n), a_n = the decoder's hidden layers at D h_n + e_n, p_{n+1} = silu(V a_n +
    c).

    p_n is what the model hears of its past. d_n (3 H) and e_n, functions of the latents, are computed before.
    ``past`` A (3 H, E); ``state`` (3 H + K, H): the GRU's recurrent weights above D, with ``state_bias``;
    ``hidden``: weight and bias of the decoder's hidden layers after the first; ``own``, ``own_bias``: V and c.
    All activations are SiLU.
    """

    past: torch.Tensor
    state: torch.Tensor
    state_bias: torch.Tensor
    hidden: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    own: torch.Tensor
    own_bias: torch.Tensor

    @classmethod
    def of(cls, gru: nn.GRU, decoder: nn.Sequential, own: torch.Tensor, own_bias: torch.Tensor) -> Loop:
        """The loop of these layers; the GRU's input is the past and then the latents, the decoder's the latents
        and then the state."""
        by_input, by_state, _, bias = gru.all_weights[0]
        layers = [(layer.weight, layer.bias) for layer in decoder if isinstance(layer, nn.Linear)]
        first = layers[0][0][:, -gru.hidden_size :]
        state_bias = torch.cat([bias, torch.zeros_like(first[:, 0])])
        past = by_input[:, : len(own)]
        return cls(past, torch.cat([by_state, first]), state_bias, tuple(layers[1:]), own, own_bias)


def roll_out(loop: Loop, drive: torch.Tensor, entry: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States h (M, N, H) and the decoder's last hidden layer (M, N, K') for ``drive`` d (M, N, 3 H) and
    ``entry`` e (M, N, K).

    It has a first derivative by ``drive`` and ``entry``, and none by the weights.
    """
    states, layer = _RollOut.apply(loop, drive.transpose(0, 1).contiguous(), entry.transpose(0, 1).contiguous())
    return states.transpose(0, 1), layer.transpose(0, 1)


class _RollOut(torch.autograd.Function):
    """The loop, time first: autograd would keep a node for each of some fifteen operations per frame."""

    @staticmethod
    def forward(
        ctx: Any, loop: Loop, drive: torch.Tensor, entry: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        steps, batch, gates = drive.shape
        size = gates // 3
        past_t, state_t, own_t = loop.past.T, loop.state.T, loop.own.T
        hidden = [(weight.T, bias) for weight, bias in loop.hidden]
        state = drive.new_zeros(batch, size)
        past = drive.new_zeros(batch, len(loop.own))
        by_state = loop.state_bias.expand(batch, -1)
        kept: list[tuple[torch.Tensor, ...]] = []
        states, layers = [], []
        for n in range(steps):
            by_input = torch.addmm(drive[n], past, past_t)
            gate = torch.sigmoid(by_input[:, : 2 * size] + by_state[:, : 2 * size])
            reset, update = gate[:, :size], gate[:, size:]
            recurrent = by_state[:, 2 * size : gates]
            candidate = torch.tanh(torch.addcmul(by_input[:, 2 * size :], reset, recurrent))
            before, state = state, torch.lerp(candidate, state, update)
            by_state = torch.addmm(loop.state_bias, state, state_t)
            inputs = [by_state[:, gates:] + entry[n]]
            layer = nn.functional.silu(inputs[0])
            for weight, bias in hidden:
                inputs.append(torch.addmm(bias, layer, weight))
                layer = nn.functional.silu(inputs[-1])
            heard = torch.addmm(loop.own_bias, layer, own_t)
            past = nn.functional.silu(heard)
            kept.append((gate, recurrent, candidate, before, heard, *inputs))
            states.append(state)
            layers.append(layer)
        ctx.loop, ctx.kept = loop, kept
        return torch.stack(states), torch.stack(layers)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:
        by_states, by_layers = gradients
        loop: Loop = ctx.loop
        steps, batch, size = by_states.shape
        by_drive = by_states.new_empty(steps, batch, 3 * size)
        by_entry = by_states.new_empty(steps, batch, len(loop.state) - 3 * size)
        # Derivatives by what the state of a step gives: the next step's gates, and the first hidden layer.
        given = by_states.new_zeros(batch, len(loop.state))
        carried = by_states.new_zeros(batch, size)
        for n in reversed(range(steps)):
            gate, recurrent, candidate, before, heard, *inputs = ctx.kept[n]
            by_layer = by_layers[n]
            if n + 1 < steps:
                by_layer = torch.addmm(by_layer, _silu_backward(by_drive[n + 1] @ loop.past, heard), loop.own)
            for (weight, _), values in zip(reversed(loop.hidden), reversed(inputs[1:]), strict=True):
                by_layer = _silu_backward(by_layer, values) @ weight
            by_entry[n] = given[:, 3 * size :] = _silu_backward(by_layer, inputs[0])
            by_state = torch.addmm(by_states[n] + carried, given, loop.state)
            reset, update = gate[:, :size], gate[:, size:]
            by_candidate = (by_state - by_state * update) * (1 - candidate.square())
            by_gate = torch.cat([by_candidate * recurrent, by_state * (before - candidate)], 1)
            given[:, : 2 * size] = by_drive[n, :, : 2 * size] = torch.ops.aten.sigmoid_backward(by_gate, gate)
            by_drive[n, :, 2 * size :] = by_candidate
            given[:, 2 * size : 3 * size] = by_candidate * reset
            carried = by_state * update
        return None, by_drive, by_entry
