"""The protocol of a noise model: stateless, with immutable state."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol

import torch

from ..registry import Registry
from ..rng import Streams


class NoiseModel(Protocol):
    """Variance of the noise in every frame and bin, learnt from the recording.

    Shapes: power (B, N, F), mask (B, N), speech variance (B, R, N, F), log-weights (B, R, N).
    """

    #: Whether there are hidden variables of the noise to be drawn in the loop.
    auxiliary: ClassVar[bool] = False
    #: Whether the start has rivals, of which the loop picks frame by frame (inference/initialisation.py).
    competes: ClassVar[bool] = False
    #: Nats by which a frame must be likelier under a rival.
    margin: float = 0.0

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> Any:
        """The start, scaled to the recording and drawn from its stream."""

    def variance(self, state: Any) -> torch.Tensor:
        """Noise variance (B, N, F), at least numerics.VARIANCE_FLOOR."""

    def update(
        self,
        state: Any,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> Any:
        """One M-step under weighted draws; it does not lower the expected log-likelihood."""

    def sample_auxiliary(
        self,
        state: Any,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
    ) -> Any:
        """Draw the noise's hidden variables, after those of the speech, where there are any (``auxiliary``)."""
        return state

    def factors(self, state: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Spectra W (B, K, F) and activations H (B, N, K) of a factorised variance; None for other models."""
        return None

    def elsewhere(self) -> list[NoiseModel]:
        """The same model with other starts, for whole runs of the loop to try."""
        spectrum: str | None = getattr(self, "init_spectrum", None)
        return [] if spectrum in (None, "tracked") else [dataclasses.replace(self, init_spectrum="tracked")]  # type: ignore[type-var]

    def rivals(self, state: Any, power: torch.Tensor, mask: torch.Tensor) -> list[Any]:
        """Other starts than ``state``; called where ``competes`` is set."""
        return []

    def pick(self, states: list[Any], choice: torch.Tensor) -> Any:
        """The state that is ``states[choice[b, n]]`` in frame n of recording b."""
        return states[0]


#: Noise models by name.
NOISES: Registry[Any] = Registry("noise model")
