"""Calibration of the posterior variance: the Wiener filter is known up to an error of the local SNR.

Given the variances v of the speech and n of the noise, s is complex Gaussian with mean m x and variance m n,
where m = v / (v + n). Draws of z vary v a little. W, H and g are point estimates, so n does not vary at all,
and neither does what the decoder cannot express, such as the fine structure of a voiced frame. Intervals by
that variance are therefore too narrow in the tails. Here the log-odds of the filter, which are the local SNR in
nats, have a Gaussian error as well, which is large where the filter removes a bin and small where it keeps it:

    logit M = logit m + deviation (1 - m)^exponent epsilon,    epsilon ~ N(0, 1)

    s - E[s | x], given M, is complex Gaussian with variance T (M (1 - M) + (M - m)^2),    T = Var / (m (1 - m))

The first term is the variance under the filter M, the second the squared error of the mean, which stays m x.
Var is the variance before calibration, the draws' spread included. The result is a scale mixture of complex
Gaussians, with tails heavier than a Gaussian's; the scale is bounded, since M lies between 0 and 1.

The deviation is learnt on simulated mixtures, such that intervals of 80 % hold 80 % of the bins; the exponent 1
was chosen on them by cross-validation (eval/scripts/fit_calibration.py, result in calibration.json).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path

import numpy as np
import torch

from ..errors import UsageError

#: The constants learnt by eval/scripts/fit_calibration.py.
FITTED = Path(__file__).with_name("calibration.json")
#: Log-odds of the filter at which the tables are computed; they are constant beyond.
_GRID = np.linspace(-16.0, 16.0, 257)
#: Places per step of the grid at which the tables are interpolated, once: a filter takes the nearest, which is
#: quicker than interpolation for every bin, and within 0.1 % of it.
_BETWEEN = 32
_NODES = 33


@functools.cache
def quadrature(nodes: int = _NODES) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Hermite quadrature for a standard normal variable.

    >>> nodes, weights = quadrature(5)
    >>> round(float(weights @ nodes**2), 6)
    1.0
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / weights.sum()


@dataclasses.dataclass(frozen=True)
class Calibration:
    """``deviation`` of the local SNR in nats where the filter m is near 0; with 0 nothing changes.

    ``exponent``: of 1 - m, by which the deviation falls as the filter rises; with 0 it is the same everywhere.

    Raises UsageError where one of them is negative or not finite.
    """

    deviation: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf:
                raise UsageError(f"calibration with {name} {value}", "it must be 0 or more")

    @classmethod
    def fitted(cls) -> Calibration:
        """With the constants learnt on simulated mixtures."""
        found = json.loads(FITTED.read_text())
        return cls(float(found["deviation"]), float(found["exponent"]))

    def scales(self, log_odds: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
        """Variance given M, relative to the variance before calibration: (..., K).

        ``log_odds`` (...): logit m; ``epsilon`` (K,): errors of the local SNR in deviations. With M = m it is
        1.

        >>> Calibration(2.0).scales(np.zeros(1), np.zeros(1))
        array([[1.]])
        """
        filter_ = _sigmoid(log_odds)[..., None]
        deviation = self.deviation * (1 - filter_) ** self.exponent
        other = _sigmoid(log_odds[..., None] + deviation * epsilon)
        # M (1 - M) + (M - m)^2, without cancellation where m is near 1.
        spread = other * (1 - filter_) ** 2 + (1 - other) * filter_**2
        return np.asarray(spread / (filter_ * (1 - filter_)))

    def variance(self, variance: torch.Tensor, wiener: torch.Tensor) -> torch.Tensor:
        """The calibrated variance of s; ``variance`` before calibration and ``wiener`` m are of one shape."""
        if self == UNCALIBRATED:
            return variance
        return variance * _at(self._factor, wiener)

    def radius(self, level: float, wiener: torch.Tensor) -> torch.Tensor:
        """r such that |s - E[s | x]| <= r times the calibrated standard deviation with probability ``level``.

        Raises UsageError for a level outside of (0, 1).

        >>> round(float(Calibration().radius(0.8, torch.tensor(0.5))), 3)  # (-log 0.2)^(1/2)
        1.269
        """
        if not 0 < level < 1:
            raise UsageError(f"an interval of probability {level}", "give a probability between 0 and 1")
        return _at(_fine(self._log_radius(level)).exp(), wiener)

    @functools.cached_property
    def _factor(self) -> torch.Tensor:
        """The mean over epsilon of :meth:`scales`, a fine table."""
        nodes, weights = quadrature()
        return _fine(np.log(self.scales(_GRID, nodes) @ weights)).exp()

    def _log_radius(self, level: float) -> np.ndarray:
        """Logarithm of the radius on the grid: bisection of P(|e|^2 > r^2) = E[exp(-r^2 / scale)]."""
        nodes, weights = quadrature()
        scale = self.scales(_GRID, nodes)
        scale /= (scale @ weights)[:, None]
        low, high = np.full(_GRID.size, -40.0), np.full(_GRID.size, 40.0)
        for _ in range(60):
            middle = (low + high) / 2
            outside = np.exp(-np.exp(middle)[:, None] / scale) @ weights
            low, high = np.where(outside > 1 - level, middle, low), np.where(outside > 1 - level, high, middle)
        return (low + high) / 4


#: Leaves the variance as it is.
UNCALIBRATED = Calibration()


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -values)))


def _fine(table: np.ndarray) -> torch.Tensor:
    """``table`` on the grid of log-odds, interpolated linearly at _BETWEEN places per step."""
    places = np.arange((_GRID.size - 1) * _BETWEEN + 1) / _BETWEEN
    return torch.from_numpy(np.interp(places, np.arange(_GRID.size), table))


def _at(fine: torch.Tensor, wiener: torch.Tensor) -> torch.Tensor:
    """The entry of a fine table that is nearest to a filter."""
    log_odds = torch.logit(wiener, eps=1e-7).nan_to_num_(0.0)
    place = log_odds.sub_(_GRID[0]).mul_(_BETWEEN / (_GRID[1] - _GRID[0])).round_()
    return fine.to(wiener).take(place.clamp_(0, len(fine) - 1).long())
