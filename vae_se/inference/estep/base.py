"""The protocol of an E-step kernel: pure ``init`` and ``step``, with randomness as an argument."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch

from ...deprecated import moved_attribute
from ...registry import Registry
from ...rng import Streams
from ..draws import Draws
from ..target import Target


@dataclasses.dataclass(frozen=True)
class EStepInfo:
    """What one E-step reports, per utterance (B,).

    ``objective``: the kernel's estimate, in nats per frame, of what EM maximises: the evidence lower bound, the
    importance-weighted bound, or, for Markov chains, which have neither, the expected complete-data
    log-likelihood. ``ess``: effective sample size. ``acceptance``: mean acceptance rate, None where every move
    is taken. ``joint``: log p(x, z) at the chains, (B, R, N), for R-hat; None where draws are independent.
    """

    objective: torch.Tensor
    ess: torch.Tensor
    acceptance: torch.Tensor | None = None
    joint: torch.Tensor | None = None


class State(Protocol):
    """What a kernel carries from step to step. The rest of EM reads ``draws`` only."""

    @property
    def draws(self) -> Draws:
        """The weighted draws of the last step."""


S = TypeVar("S", bound=State)


class EStep(Protocol[S]):
    """An E-step kernel with states of type ``S``: a frozen dataclass whose fields are its settings."""

    #: Whether the kernel can move the latents of a recording as a whole, as a prior that ties the frames
    #: together requires.
    trajectories: ClassVar[bool] = False
    #: Whether the kernel decodes the latents of single frames (``SpeechPrior.frame_decoder``).
    by_frame: ClassVar[bool] = False
    #: Whether the kernel works with a prior of the latents that comes from a noisy encoder.
    contextual: ClassVar[bool] = True
    #: Iterations of EM, and E-steps to average over, that are enough from the start of a noisy encoder.
    enough: ClassVar[tuple[int, int]] = (10, 4)

    @property
    def draws(self) -> int:
        """R, the number of draws of one step."""

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> S:
        """The state before the first step; ``power`` (B, N, F) is the encoder's input."""

    def step(self, target: Target, state: S, streams: Streams) -> tuple[S, EStepInfo]:
        """One E-step at the current parameters."""

    def frozen(self, state: S) -> S:
        """The state without further adaptation of the proposal; EM calls this before it averages.

        A chain whose proposal keeps adapting does not have the posterior as its stationary distribution.
        Kernels without such a chain return the state unchanged.
        """
        return state


#: E-step kernels by name.
ESTEPS: Registry[type[EStep[Any]]] = Registry("E-step")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return moved_attribute(__name__, name)
