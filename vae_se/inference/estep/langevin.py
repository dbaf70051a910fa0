"""Langevin dynamics without acceptance, and the proposal that it shares with ``mala``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...errors import UsageError
from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .chain import chain_info
from .gradient import Point, joint_point
from .vem_full import gauss_newton


def preconditioner(target: Target, z: torch.Tensor) -> torch.Tensor:
    """The root A (B, N, L, L) of a covariance in the shape of the posterior around the mean of the chains z."""
    return gauss_newton(target, z.mean(1)).root


def renewed(root: torch.Tensor | None, target: Target, z: torch.Tensor, steps: int) -> torch.Tensor | None:
    """The preconditioner, computed anew at E-steps 0, 1, 2, 4, 8 and so on; None stays None."""
    return root if root is None or steps & (steps - 1) else preconditioner(target, z)


def along(root: torch.Tensor | None, move: torch.Tensor) -> torch.Tensor:
    """A @ move, (B, R, N, L); without preconditioning A is the identity."""
    return move if root is None else (root.unsqueeze(1) @ move.unsqueeze(-1)).squeeze(-1)


def drift(gradient: torch.Tensor, step: torch.Tensor, root: torch.Tensor | None = None) -> torch.Tensor:
    """(step^2 / 2) A^T grad log p(x, z), limited in length to step * sqrt(L), (B, R, N, L).

    The limit is the typical length of the noise. In equilibrium the squared gradient equals the trace of the
    curvature on average, so a step in its stable range, step^2 curvature < 4, rarely reaches the limit; it
    matters far from the mode and in frames that the model does not fit. The drift of a chain in a frame depends
    on that chain and frame alone, so the proposal is valid (truncated drift: Roberts and Tweedie, 1996).

    >>> drift(torch.tensor([2.0, 0.0]), torch.tensor(0.5))
    tensor([0.2500, 0.0000])
    >>> drift(torch.tensor([1e9, 0.0]), torch.tensor(0.5))  # sqrt(2) / 2
    tensor([0.7071, 0.0000])
    """
    if root is not None:
        gradient = (gradient.unsqueeze(-2) @ root.unsqueeze(1)).squeeze(-2)
    move = 0.5 * step.square() * gradient
    bound = step * gradient.shape[-1] ** 0.5
    length = move.norm(dim=-1, keepdim=True)
    return move * (bound / length.clamp(min=1e-30)).clamp(max=1)


def log_proposal(
    to: torch.Tensor, start: Point, step: torch.Tensor, root: torch.Tensor | None = None
) -> torch.Tensor:
    """log N(to; start + A drift, step^2 A A^T) without its normalisation, (B, R, N); not symmetric."""
    move = to - start.z
    if root is not None:
        solved = torch.linalg.solve_triangular(root, move.permute(0, 2, 3, 1), upper=True)
        move = solved.permute(0, 3, 1, 2)
    return -0.5 * ((move - drift(start.gradient, step, root)) / step).square().sum(-1)


def propose(
    start: Point, step: torch.Tensor, streams: Streams, root: torch.Tensor | None = None
) -> torch.Tensor:
    """z + A (drift + step * epsilon), epsilon ~ N(0, I), (B, R, N, L)."""
    epsilon = streams.normal_draws(start.z.shape[1], start.z.shape[-1], dtype=start.z.dtype)
    return start.z + along(root, drift(start.gradient, step, root) + step * epsilon)


def total_variation_slope(z: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Derivative of sum_n sqrt(|z_n - z_(n-1)|^2 + 0.01 L) by z (B, R, N, L), over pairs of valid frames.

    The term 0.01 L makes it differentiable where neighbours are equal; its root is a tenth of the prior's
    standard deviation.
    """
    difference = z.diff(dim=2)
    length = (difference.square().sum(-1, keepdim=True) + 0.01 * z.shape[-1]).sqrt()
    both = (mask[:, 1:] * mask[:, :-1])[:, None, :, None]
    unit = torch.nn.functional.pad(both * difference / length, (0, 0, 1, 1))
    return -unit.diff(dim=2)


@dataclasses.dataclass(frozen=True)
class LangevinState:
    """The chains z (B, R, N, L), the draws of the last step, the preconditioner or None, and the steps done."""

    z: torch.Tensor
    draws: Draws
    root: torch.Tensor | None
    steps: int


@ESTEPS.add("langevin")
@dataclasses.dataclass(frozen=True)
class Langevin(EStep[LangevinState]):
    """z' = z + (step^2 / 2) grad log p(x, z) + step * epsilon, without acceptance, frame by frame.

    ``draws``: R parallel chains; ``sweeps``: moves per E-step; ``step_size``: standard deviation of the noise.
    ``precondition``: take steps in the shape of the posterior, A A^T = (I + J^T D J)^-1 by Gauss-Newton around
    the mean of the chains (vem_full.py), computed anew at steps 0, 1, 2, 4, 8 and so on; ``step_size`` is then
    a fraction of the posterior's standard deviation. ``total_variation``: lambda of an additional factor
    exp(-lambda sum_n |z_n - z_(n-1)|) of the prior, which ties the frames together; the objective omits it.
    Raises UsageError for a negative lambda.

    The variance of the draws is too large by the factor 1 / (1 - step^2 curvature / 4), and the chains diverge,
    as far as the limit on the drift lets them, where step^2 curvature exceeds 4. So the step must be small.

    Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete approximations,
    1996; for this model, with total variation over time: Sadeghi and Serizel, Fast and efficient speech
    enhancement with variational autoencoders, 2023.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 2
    sweeps: int = 2
    step_size: float = 0.1
    precondition: bool = False
    total_variation: float = 0.0

    def __post_init__(self) -> None:
        if self.total_variation < 0:
            raise UsageError(f"total variation {self.total_variation}", "its weight must be 0 (none) or more")

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> LangevinState:
        """The chains start at draws from the initial posterior."""
        z, _ = target.initial_posterior(power).rsample(self.draws, streams)
        root = preconditioner(target, z) if self.precondition else None
        return LangevinState(z, Draws.equal(z, target.decode(z)), root, 0)

    def step(self, target: Target, state: LangevinState, streams: Streams) -> tuple[LangevinState, EStepInfo]:
        """``sweeps`` moves; the draws are the last ones decoded, so that none is decoded twice."""
        z, root = state.z, renewed(state.root, target, state.z, state.steps)
        step = torch.full_like(target.gain, self.step_size)[:, None, :, None]
        for _ in range(self.sweeps):
            point = joint_point(target, z)
            if self.total_variation:
                slope = self.total_variation * total_variation_slope(z, target.mask)
                point = dataclasses.replace(point, gradient=point.gradient - slope)
            z = propose(point, step, streams, root)
        draws, info = chain_info(target, point.z, point.log_variance, point.value, None)
        return LangevinState(z, draws, root, state.steps + 1), info
