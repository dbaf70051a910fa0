"""The protocol of a noise model: stateless, with immutable state."""

from __future__ import annotations

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
        """Draw the noise's hidden variables, after those of the speech; called where ``auxiliary`` is so."""
        return state


#: Noise models by name.
NOISES: Registry[Any] = Registry("noise model")
