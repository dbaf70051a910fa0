"""Standardisation of the encoder's input by the statistics of the training speech."""

from __future__ import annotations

import torch
from torch import nn

from ..numerics import POWER_FLOOR
from .frame import EULER


class Standardising:
    """Mixin of a prior with an output layer ``output`` and buffers ``log_power_mean``, ``log_power_std`` (F,).

    The buffers are stored with the weights; they are 0 and 1 until :meth:`set_statistics`.
    """

    output: nn.Linear
    log_power_mean: torch.Tensor
    log_power_std: torch.Tensor

    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Store mean and standard deviation (F,) of the log-power; the output then starts at that mean.

        The output is a log-variance. It exceeds the mean log-power of an exponential distribution by Euler's
        constant, which the output's bias includes.
        """
        self.log_power_mean.copy_(mean)
        self.log_power_std.copy_(std)
        with torch.no_grad():
            self.output.bias.copy_(mean + EULER)
            self.output.weight.mul_(0.1)

    def features(self, power: torch.Tensor) -> torch.Tensor:
        """The encoder's input for |s|^2 (..., F): its standardised logarithm."""
        return (torch.log(power + POWER_FLOOR) - self.log_power_mean) / self.log_power_std
