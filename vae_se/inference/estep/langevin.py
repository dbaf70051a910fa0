"""Langevin dynamics, as it is (``langevin``) and with Metropolis-Hastings acceptance (``mala``)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...errors import UsageError
from ...rng import Streams
from ..draws import Draws
from ..target import Target
from .base import ESTEPS, Info
from .chain import accept, chain_info
from .gradient import Point, joint_point
from .vem_full import gauss_newton


def scales(target: Target, z: torch.Tensor) -> torch.Tensor:
    """The root A (B, N, L, L) of a covariance in the shape of the posterior around the chains' mean."""
    return gauss_newton(target, z.mean(1)).root


def renewed(root: torch.Tensor | None, target: Target, z: torch.Tensor, steps: int) -> torch.Tensor | None:
    """The root anew at E-steps 0, 1, 2, 4, 8 and so on; None stays None."""
    return root if root is None or steps & (steps - 1) else scales(target, z)


def along(root: torch.Tensor | None, move: torch.Tensor) -> torch.Tensor:
    """A @ move, (B, R, N, L); without preconditioning A is the identity."""
    return move if root is None else (root.unsqueeze(1) @ move.unsqueeze(-1)).squeeze(-1)


def drift(gradient: torch.Tensor, step: torch.Tensor, root: torch.Tensor | None = None) -> torch.Tensor:
    """(step^2 / 2) A^T grad log p(x, z), no longer than the typical noise, step * sqrt(L); (B, R, N, L).

    In equilibrium the squared gradient is the trace of the curvature on average, so the bound holds by
    itself where the step is in its stable range, step^2 curvature < 4; it matters far from the mode and in
    frames that fit nothing. It is a function of one frame and chain alone, hence a valid proposal
    (the truncated drift of Roberts and Tweedie, 1996, sec. 1.4.2).
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
    """log N(to; start + A drift, step^2 A A^T) less its normalisation, (B, R, N); not symmetric in its ends."""
    move = to - start.z
    if root is not None:
        solved = torch.linalg.solve_triangular(root, move.permute(0, 2, 3, 1), upper=True)
        move = solved.permute(0, 3, 1, 2)
    return -0.5 * ((move - drift(start.gradient, step, root)) / step).square().sum(-1)


def propose(
    start: Point, step: torch.Tensor, streams: Streams, root: torch.Tensor | None = None
) -> torch.Tensor:
    """z + A (drift + step * epsilon), epsilon ~ N(0, I), (B, R, N, L)."""
    draws, latents = start.z.shape[1], start.z.shape[-1]
    epsilon = streams.normal(draws, latents, dtype=start.z.dtype).transpose(1, 2)
    return start.z + along(root, drift(start.gradient, step, root) + step * epsilon)


def total_variation_slope(z: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Derivative of sum_n sqrt(|z_n - z_(n-1)|^2 + 0.01 L) by z (B, R, N, L), over neighbours that both exist.

    The smoothing, by a tenth of the prior's spread, makes it differentiable where neighbours are equal.
    """
    difference = z.diff(dim=2)
    length = (difference.square().sum(-1, keepdim=True) + 0.01 * z.shape[-1]).sqrt()
    both = (mask[:, 1:] * mask[:, :-1])[:, None, :, None]
    unit = torch.nn.functional.pad(both * difference / length, (0, 0, 1, 1))
    return -unit.diff(dim=2)


@dataclasses.dataclass(frozen=True)
class LangevinState:
    """Where the next step starts, z (B, R, N, L), the draws of the last one, the preconditioner's root (None
    without) and the steps done."""

    z: torch.Tensor
    samples: Draws
    root: torch.Tensor | None
    steps: int


@ESTEPS.add("langevin")
@dataclasses.dataclass(frozen=True)
class Langevin:
    """z' = z + (step^2 / 2) grad log p(x, z) + step * epsilon, without acceptance, frame by frame.

    ``draws``: R parallel chains; ``sweeps``: moves per E-step; ``step_size``: the standard deviation of the
    noise. ``precondition``: steps in the shape of the posterior, A A^T = (I + J^T D J)^-1 by Gauss-Newton
    around the chains' mean (vem_full.py), made anew at steps 0, 1, 2, 4, 8 and so on; then ``step_size`` is a
    part of the posterior's standard deviation. ``total_variation``: lambda in a further factor
    exp(-lambda sum_n |z_n - z_(n-1)|) of the prior, which ties the frames together (the objective is without).

    The variance of what it draws is too large by 1 / (1 - step^2 curvature / 4), and it diverges
    (as far as the bound on the drift lets it) where step^2 curvature exceeds 4: the step must be small.
    On examples/noisy.wav with the prior ``default`` the steps of ``mala`` settle between 0.05 and 0.16 in four
    frames of five. There 0.05 reaches the mean log p(x, z) of ``mala``; 0.1 stays 25 nats per frame below it,
    with an SI-SDR 0.3 dB higher; at 0.3 the result is ruined.

    Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
    approximations, 1996, sec. 1.4.1; for this model: Sadeghi and Serizel, Fast and efficient speech
    enhancement with variational autoencoders, 2023, with its total variation over time.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 2
    sweeps: int = 2
    step_size: float = 0.1
    precondition: bool = False
    total_variation: float = 0.0

    def __post_init__(self) -> None:
        if self.total_variation < 0:
            raise UsageError(f"total variation {self.total_variation}", "its weight is 0 (none) or more")

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> LangevinState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        root = scales(target, z) if self.precondition else None
        return LangevinState(z, Draws.equal(z, target.decode(z)), root, 0)

    def step(self, target: Target, state: LangevinState, streams: Streams) -> tuple[LangevinState, Info]:
        """``sweeps`` moves; the draws handed on are the last ones decoded, so that none is decoded twice."""
        z, root = state.z, renewed(state.root, target, state.z, state.steps)
        step = torch.full_like(target.gain, self.step_size)[:, None, :, None]
        for _ in range(self.sweeps):
            point = joint_point(target, z)
            if self.total_variation:
                slope = self.total_variation * total_variation_slope(z, target.mask)
                point = dataclasses.replace(point, gradient=point.gradient - slope)
            z = propose(point, step, streams, root)
        samples, info = chain_info(target, point.z, point.log_variance, point.value, None)
        return LangevinState(z, samples, root, state.steps + 1), info


@dataclasses.dataclass(frozen=True)
class AdjustedState:
    """Where the chains stand, z (B, R, N, L), the draws made of them, the log step size per frame (B, N), the
    preconditioner's root (None without), the steps done."""

    z: torch.Tensor
    samples: Draws
    log_step: torch.Tensor
    root: torch.Tensor | None
    steps: int


@ESTEPS.add("mala")
@dataclasses.dataclass(frozen=True)
class AdjustedLangevin:
    """Langevin moves z -> z', accepted with min(1, p(x, z') q(z | z') / (p(x, z) q(z' | z))), frame by frame.

    ``draws``: R parallel chains; ``sweeps``: proposals per E-step; ``step_size``: the standard deviation of
    the noise of the first proposals. During the first ``adaptation`` steps the size follows the acceptance
    towards ``target_acceptance``, frame by frame, then it is frozen, as in mh.py. ``precondition`` as in
    ``langevin``, frozen with the step. There is no total variation: it would tie the frames together, and
    what is accepted frame by frame would no longer be drawn from it.

    Roberts and Tweedie, 1996, sec. 1.4.2; the rate 0.574: Roberts and Rosenthal, Optimal scaling of
    discrete approximations to Langevin diffusions, 1998.
    """

    trajectories: ClassVar[bool] = True
    draws: int = 2
    sweeps: int = 4
    step_size: float = 0.1
    target_acceptance: float = 0.574
    adaptation: int = 30
    precondition: bool = False

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> AdjustedState:
        """The chains start at draws from the encoder at ``power``."""
        z, _ = target.encode(power).rsample(self.draws, streams)
        log_step = torch.full_like(target.gain, self.step_size).log()
        root = scales(target, z) if self.precondition else None
        return AdjustedState(z, Draws.equal(z, target.decode(z)), log_step, root, 0)

    def step(self, target: Target, state: AdjustedState, streams: Streams) -> tuple[AdjustedState, Info]:
        """``sweeps`` proposals for every chain and frame."""
        log_step, root = state.log_step, state.root
        if state.steps < self.adaptation:
            root = renewed(root, target, state.z, state.steps)
        # The parameters are new in every E-step, and so is the gradient at the same z.
        point = joint_point(target, state.z)
        accepted = torch.zeros_like(point.value)
        for _ in range(self.sweeps):
            step = torch.exp(log_step)[:, None, :, None]
            new = joint_point(target, propose(point, step, streams, root))
            ratio = new.value - point.value
            ratio = ratio + log_proposal(point.z, new, step, root) - log_proposal(new.z, point, step, root)
            point, taken = accept(target, point, new, ratio, streams)
            accepted += taken
            if state.steps < self.adaptation:
                rate = taken.to(log_step.dtype).mean(1)
                log_step = log_step + (rate - self.target_acceptance) / (1 + state.steps) ** 0.6
        rate = accepted / self.sweeps
        samples, info = chain_info(target, point.z, point.log_variance, point.value, rate)
        return AdjustedState(point.z, samples, log_step, root, state.steps + 1), info
