"""Self-normalised importance sampling with a variational Gaussian as proposal."""

from __future__ import annotations

import dataclasses
import math

import torch

from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .gradient import Point
from .vem_full import FullGaussian, FullState, FullVariational


def log_weights(q: FullGaussian, point: Point) -> torch.Tensor:
    """log p(x, z) - log q(z), (B, R, N), at draws z; the value of ``point`` is log p(x, z)."""
    epsilon = q.whiten(point.z)
    log_det = q.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_q = -0.5 * (math.log(2 * math.pi) + epsilon.square()).sum(-1) - log_det.unsqueeze(1)
    return point.value - log_q


@ESTEPS.add("vem-is")
@dataclasses.dataclass(frozen=True)
class GaussianIS(EStep[FullState]):
    """The draws of ``vem-full`` with weights p(x, z) / q(z), which correct for the error of the Gaussian.

    q keeps being fitted, and each draw is weighted by the q that it came from. The weights cost one triangular
    solve. ``draws``: R; ``steps`` and ``learning_rate`` of the fit as in vem_full.py.

    Cappé, Guillin, Marin and Robert, Population Monte Carlo, 2004 (adaptive proposals); the objective: Burda,
    Grosse and Salakhutdinov, Importance weighted autoencoders, 2016.
    """

    draws: int = 8
    steps: int = 1
    learning_rate: float = 0.3

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> FullState:
        """As of ``vem-full``."""
        return self._fit().init(target, power, streams)

    def step(self, target: Target, state: FullState, streams: Streams) -> tuple[FullState, EStepInfo]:
        """``steps`` steps of the fit; the draws of the last one, weighted."""
        q, done, drawn, point, _ = self._fit().fit(target, state.q, state.steps, streams)
        weights = log_weights(drawn, point)
        draws = Draws.weighted(point.z, weights, point.log_variance)
        bound = torch.logsumexp(weights, dim=1) - math.log(self.draws)
        info = EStepInfo(
            objective=frame_mean(bound, target.mask),
            ess=frame_mean(draws.effective_sample_size(), target.mask),
        )
        return FullState(q, draws, done), info

    def _fit(self) -> FullVariational:
        return FullVariational(self.draws, self.steps, self.learning_rate)
