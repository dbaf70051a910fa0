"""Majorise-minimise updates of the model above the prior's band, for a recording and for a stream.

With V_fn = sum_b T_bf c_b g_nb v_nb + (W H)_fn, the majoriser of sum_fn log V + |x|^2 / V splits into one term
alpha / theta + beta theta for every parameter theta, whose alpha is theta^2 times a sum of |x|^2 / V^2 and
whose beta is a sum of 1 / V (docs/noise.md).
"""

from __future__ import annotations

import torch

from ..noise.activation_penalty import minimiser
from ..numerics import TINY, VARIANCE_FLOOR

#: Part of the frames that are taken for noise at the start, and the ratio of that quantile of an exponential
#: distribution to its mean.
_QUIET, _QUANTILE = 0.2, 0.2231


def mode(value: torch.Tensor, up: torch.Tensor, down: torch.Tensor, concentration: float) -> torch.Tensor:
    """The root of (down + c) g^2 - c g - up value^2 = 0: the update of a gain with the prior c (log g - g)."""
    return minimiser(up * value.square(), down + concentration, torch.full_like(value, -concentration))


def ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """Factor of a multiplicative update with exponent 1/2."""
    return ((above + TINY) / (below + TINY)).sqrt_()


def quiet_spectrum(power: torch.Tensor) -> torch.Tensor:
    """The noise (F,) if it has the power (N, F) that a bin exceeds in four frames of five."""
    rank = max(1, round(_QUIET * len(power)))
    return (power.kthvalue(rank, dim=0).values / _QUANTILE).clamp(min=VARIANCE_FLOOR)


def own_activations(frames: int, own: int) -> torch.Tensor:
    """The start (N, own) of the activations that the low band does not have, with a mean near 1.

    They differ from each other: equal columns would stay equal.
    """
    phase = torch.linspace(0, 1, frames).unsqueeze(1) * torch.arange(1, own + 1) * torch.pi
    return 1 + 0.5 * torch.cos(phase)
