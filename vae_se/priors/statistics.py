"""How priors hear speech: as log-power, standardised by the statistics of the training speech."""

from __future__ import annotations

import torch
from torch import nn

from ..numerics import POWER_FLOOR
from .frame import EULER


class Standardising:
    """Part of a prior whose last layer, ``output``, gives log-variances. Its statistics are buffers, stored
    with the weights; they are 0 and 1 until :meth:`set_statistics`."""

    output: nn.Linear
    log_power_mean: torch.Tensor
    log_power_std: torch.Tensor

    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Standardise what is heard and start the output at the mean log-power; both (F,).

        An exponentially distributed power lies e^gamma above the exponential of its mean logarithm, hence
        Euler's constant in the bias.
        """
        self.log_power_mean.copy_(mean)
        self.log_power_std.copy_(std)
        with torch.no_grad():
            self.output.bias.copy_(mean + EULER)
            self.output.weight.mul_(0.1)

    def features(self, power: torch.Tensor) -> torch.Tensor:
        """What is heard of |s|^2 (..., F): its standardised logarithm."""
        return (torch.log(power + POWER_FLOOR) - self.log_power_mean) / self.log_power_std
