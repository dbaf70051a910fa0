"""Noisy encoders on a stream: each block costs its own frames and a short window, whatever came before."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from ..errors import UsageError
from ..numerics import POWER_FLOOR
from .convolutional import ConvolutionalNoisyEncoder
from .convolutional_stream import ConvolutionalStream
from .network import NoisyEncoder, NoisyEncoding
from .past import MEAN_FRAMES

#: Frames that a network without a streaming form reads for every block, the block among them.
WINDOW = 48

#: Frames over which the backward layers of the recurrent network run.
REVISED = 24


class EncoderStream(Protocol):
    """A noisy encoder that takes the frames of a stream in parts."""

    def push(self, power: torch.Tensor, level: float = 1.0) -> NoisyEncoding:
        """Take the next frames, ``power`` (1, n, F); the encoding of the last ``tail`` frames received (fewer
        at the beginning).

        ``level``: power by which that of the stream is divided for the prior's level, as known by now.
        """


def encoder_stream(encoder: object, tail: int) -> EncoderStream:
    """A stream for ``encoder`` that returns ``tail`` frames, in the cheapest form that the network allows.

    A causal convolutional network carries its state, so that every frame is computed once. A bidirectional
    recurrent network carries the state of its forward layers. Any other network reads a rolling window.
    Raises UsageError for an object that is no noisy encoder.
    """
    if isinstance(encoder, ConvolutionalNoisyEncoder):
        return ConvolutionalStream(encoder, tail, REVISED)
    if isinstance(encoder, NoisyEncoder) and not encoder.causal:
        return RecurrentStream(encoder, tail)
    if isinstance(encoder, NoisyEncoder):
        return WindowStream(encoder, tail)
    raise UsageError("a live stream needs a noisy encoder", "take a prior that has one: default")


class WindowStream:
    """Runs ``encoder`` on the last ``window`` frames for every block."""

    def __init__(self, encoder: NoisyEncoder, tail: int, window: int = WINDOW) -> None:
        self._encoder, self._tail, self._window = encoder, tail, max(window, tail)
        self._power: torch.Tensor | None = None

    def push(self, power: torch.Tensor, level: float = 1.0) -> NoisyEncoding:
        """The encoding of the last frames, see :class:`EncoderStream`."""
        joined = power if self._power is None else torch.cat([self._power, power], 1)
        self._power = joined[:, -self._window :]
        power = self._power / level
        encoding = self._encoder(power, torch.ones(self._power.shape[:2], device=power.device))
        return encoding.frames(slice(-self._tail, None))


class RecurrentStream:
    """Runs a bidirectional recurrent ``encoder`` with the forward state carried over.

    Per block, the first forward layer reads the new frames alone. The backward layers begin at the last frame
    received and run over ``revised`` frames; so does the second forward layer, from its state before them.
    Frames before these keep the state that they had when they left the window, with a look-ahead of
    ``revised`` frames. The mean spectrum is that of the stream so far. While the stream is shorter than
    ``revised`` and comes in one part, the result is that of the network on the recording.
    """

    def __init__(self, encoder: NoisyEncoder, tail: int, revised: int = REVISED) -> None:
        self._encoder, self._tail, self._revised = encoder, tail, max(revised, tail)
        self._first, self._second = _directions(encoder.first), _directions(encoder.second)
        self._state_1: torch.Tensor | None = None  # of the first forward layer, after the last frame
        self._state_2: torch.Tensor | None = None  # of the second one, before the window
        self._projected: torch.Tensor | None = None  # of the window, (B, W, width)
        self._forward: torch.Tensor | None = None  # output of the first forward layer, (B, W, hidden)
        self._sum: torch.Tensor | float = 0.0
        self._count = 0.0

    def push(self, power: torch.Tensor, level: float = 1.0) -> NoisyEncoding:
        """The encoding of the last frames, see :class:`EncoderStream`."""
        net, new = self._encoder, power.shape[1]
        standard = (torch.log(power / level + POWER_FLOOR) - net.log_power_mean) / net.log_power_std
        keep = min(1.0, MEAN_FRAMES / (self._count + new))
        self._sum, self._count = (self._sum + standard.sum(1, keepdim=True)) * keep, (self._count + new) * keep
        mean = self._sum / self._count
        projected = _append(self._projected, net.project(standard))
        hidden = nn.functional.silu(projected + net.project_mean(mean))
        forward, self._state_1 = self._first[0](hidden[:, -new:], self._state_1)
        forward = _append(self._forward, forward)
        first = torch.cat([forward, self._first[1](hidden.flip(1))[0].flip(1)], -1)
        context, _ = self._second[0](first, self._state_2)
        leaving = max(0, first.shape[1] - self._revised)
        if leaving:
            self._state_2 = context[:, leaving - 1].unsqueeze(0).contiguous()
        self._projected, self._forward = projected[:, leaving:], forward[:, leaving:]
        tail = min(self._tail, first.shape[1])
        backward = self._second[1](first[:, -tail:].flip(1))[0].flip(1)
        joined = torch.cat([hidden[:, -tail:], context[:, -tail:], backward], -1)
        return net.read_out(joined, mean)


def _directions(layer: nn.GRU) -> tuple[nn.GRU, nn.GRU]:
    """The forward and the backward direction of a bidirectional layer, as layers that share its weights."""
    found = []
    for suffix in ("", "_reverse"):
        with torch.device("meta"):
            one = nn.GRU(layer.input_size, layer.hidden_size, batch_first=True)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        one.load_state_dict({name: getattr(layer, name + suffix).detach() for name in names}, assign=True)
        found.append(one.eval().requires_grad_(False))
    return found[0], found[1]


def _append(before: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
    return new if before is None else torch.cat([before, new], 1)
