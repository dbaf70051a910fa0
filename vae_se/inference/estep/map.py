"""Point estimate of the latents."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...errors import UsageError
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .gradient import Adam, joint_point


@dataclasses.dataclass(frozen=True)
class PointState:
    """The estimate z (B, 1, N, L) with Adam's moments, and the last z that was decoded."""

    adam: Adam
    draws: Draws


@ESTEPS.add("map")
@dataclasses.dataclass(frozen=True)
class PointEstimate(EStep[PointState]):
    """Gradient ascent on log p(x, z) from the encoder's mean, frame by frame: one draw of weight 1.

    ``steps``: gradient steps per E-step; ``learning_rate``: step size of Adam. The uncertainty of z enters
    neither the M-step nor the filter. Raises UsageError for more than one draw.

    Kameoka, Li, Inoue and Makino, Supervised determined source separation with multichannel variational
    autoencoder, 2019, estimate latents by backpropagation through the decoder; here with the prior's term and
    with Adam.
    """

    trajectories: ClassVar[bool] = True
    steps: int = 1
    learning_rate: float = 0.05
    draws: int = 1

    def __post_init__(self) -> None:
        if self.draws != 1:
            raise UsageError(f"{self.draws} draws of a point estimate", "estep.draws must be 1")

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> PointState:
        """The estimate starts at the mean of the initial posterior."""
        z = target.initial_posterior(power).mean.unsqueeze(1)
        return PointState(Adam.start(z), Draws.equal(z, target.decode(z)))

    def step(self, target: Target, state: PointState, streams: Streams) -> tuple[PointState, EStepInfo]:
        """``steps`` gradient steps; the draw is the last point that was decoded."""
        adam = state.adam
        for _ in range(self.steps):
            point = joint_point(target, adam.parameters)
            adam = adam.ascend(point.gradient, self.learning_rate)
        objective = frame_mean(point.value.mean(1), target.mask)
        info = EStepInfo(objective=objective, ess=torch.ones_like(objective))
        return PointState(adam, Draws.equal(point.z, point.log_variance)), info
