"""A model beside the moving average of its weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Averaged(nn.Module, Generic[M]):
    """``model`` is trained; ``average`` is a copy whose weights are a moving average of the model's.

    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; with an exponential window
    as in Tarvainen and Valpola, Mean teachers are better role models, 2017.
    """

    model: M
    average: M

    def __init__(self, model: M) -> None:
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        """Include the weights after ``step`` steps (1, 2, ...).

        The weight of the average's past is ``decay``, and less in the first steps: (1 + step) / (10 + step).
        """
        decay = min(decay, (1 + step) / (10 + step))
        for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
