"""The protocol of an E-step kernel: pure ``init`` and ``step``, randomness as an argument."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import torch

from ...registry import Registry
from ...rng import Streams
from ..draws import Draws
from ..target import Target


@dataclasses.dataclass(frozen=True)
class Info:
    """What one step says of itself, per utterance (B,).

    ``objective``: the kernel's estimate, in nats per frame, of what EM raises: the evidence lower bound,
    the importance-weighted bound, or (Markov chains, which have neither) the expected complete-data
    log-likelihood. ``acceptance`` is None where nothing is accepted. ``joint``: log p(x, z) where the chains
    stand, (B, R, N); None where draws are independent and R-hat would say nothing.
    """

    objective: torch.Tensor
    ess: torch.Tensor
    acceptance: torch.Tensor | None = None
    joint: torch.Tensor | None = None


class State(Protocol):
    """Whatever a kernel carries from step to step; ``samples`` is what the rest of EM reads."""

    @property
    def samples(self) -> Draws:
        """The weighted draws of the last step."""


class EStep(Protocol):
    """An E-step kernel; a frozen dataclass whose fields are its settings.

    One that can also move the latents of a recording as a whole, as a prior that ties frames together asks,
    says so by ``trajectories``, a class variable that is True.
    """

    @property
    def draws(self) -> int:
        """R, the draws of one step."""

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> Any:
        """State before the first step; the encoder sees ``power`` (B, N, F)."""

    def step(self, target: Target, state: Any, streams: Streams) -> tuple[Any, Info]:
        """One E-step under the current parameters."""


#: E-step kernels by name.
ESTEPS: Registry[Any] = Registry("E-step")
