"""Hamiltonian Monte Carlo in the coordinates of a Gaussian, for latents that the prior ties together."""

from __future__ import annotations

import math

import torch

from ...rng import Streams
from ..target import Target
from .gradient import Point, joint_point
from .vem_full import FullGaussian, gauss_newton

#: Acceptance rate for which the step of a path is most efficient: Beskos, Pillai, Roberts, Sanz-Serna and
#: Stuart, Optimal tuning of the hybrid Monte Carlo algorithm, 2013.
ACCEPTANCE = 0.65
#: Limit of the force, in typical lengths of a velocity.
_LIMIT = 4.0
#: Random vectors that estimate what later frames say about a frame.
_PROBES = 32


def longest_step(steps: int) -> float:
    """The step with which a path of ``steps`` turns by a right angle: if q were the posterior, its end would
    not depend on its start."""
    return math.pi / (2 * steps)


def gaussian(target: Target, mean: torch.Tensor, streams: Streams) -> FullGaussian:
    """The Gaussian of :func:`~.vem_full.gauss_newton` around ``mean`` (B, N, L), which also knows how well the
    later frames determine a frame.

    That is the Fisher information of p(z_m | z_1..m-1), m > n, about z_n, sum_m J^T J with the derivatives J of
    mean / sigma_m and log-variance / sqrt(2). It is estimated as the mean of g g^T over :data:`_PROBES` random
    vectors g = J^T xi, xi ~ N(0, I), each a pass back through the dynamics for all frames (the estimator of
    Hutchinson, A stochastic estimator of the trace of the influence matrix, 1990, block by block). q may depend
    on random numbers: it is frozen before the chains count.
    """
    latent = mean.shape[-1]
    xi = streams.normal_draws(_PROBES, 2 * latent, dtype=mean.dtype) * target.mask[:, None, :, None]
    with torch.enable_grad():
        leaf = mean.unsqueeze(1).expand(-1, _PROBES, -1, -1).detach().requires_grad_()
        moments = target.prior.conditional_prior(leaf)
        if moments is None:
            return gauss_newton(target, mean)
        scaled = moments[0] * torch.exp(-0.5 * moments[1].detach())
        total = (xi * torch.cat([scaled, moments[1] / 2**0.5], -1)).sum()
    (g,) = torch.autograd.grad(total, leaf)
    return gauss_newton(target, mean, torch.einsum("bknl,bknm->bnlm", g, g) / _PROBES)


def path(
    target: Target, q: FullGaussian, start: Point, step: torch.Tensor, steps: int, streams: Streams
) -> tuple[Point, torch.Tensor]:
    """The end of a path of Hamiltonian dynamics from ``start``, and its log-ratio for acceptance (B, R, N).

    In the coordinates e of q, z = m + S^(1/2) e, with velocities v ~ N(0, I), the energy is |v|^2 / 2 - log
    p(x, z) = |v|^2 / 2 + |e|^2 / 2 - l(e), where l = log p / q up to a constant. A step of length ``step`` h
    (B, 1, N, 1) is v <- v + h/2 grad l, a rotation of (e, v) by the angle h, which solves the dynamics without
    l, and v <- v + h/2 grad l. It preserves volume and is reversible, whatever function of e stands for grad l,
    so min(1, exp(loss of energy)) is the probability of acceptance for any prior and any q; for a prior that
    ties the frames together it takes the sum over frames. Energy is lost only where q differs from the
    posterior.

    Beskos, Pinski, Sanz-Serna and Stuart, Hybrid Monte Carlo on Hilbert spaces, 2011, for a Gaussian q as
    reference measure.
    """
    point, e = start, q.whiten(start.z)
    velocity = first = streams.normal_draws(e.shape[1], e.shape[-1], dtype=e.dtype)
    cos, sin = torch.cos(step), torch.sin(step)
    for _ in range(steps):
        velocity = velocity + 0.5 * step * _slope(q, point, e)
        e, velocity = cos * e + sin * velocity, cos * velocity - sin * e
        point = joint_point(target, q.mean.unsqueeze(1) + q.spread(e))
        velocity = velocity + 0.5 * step * _slope(q, point, e)
    lost = 0.5 * (first.square() - velocity.square()).sum(-1)
    return point, point.value - start.value + lost


def _slope(q: FullGaussian, point: Point, e: torch.Tensor) -> torch.Tensor:
    """The gradient of l by e, (B, R, N, L), limited in each frame to :data:`_LIMIT` sqrt(L).

    Without the limit a path from a place far from the posterior may diverge, where a narrow p(z_n | z_1..n-1)
    makes the force large.
    """
    slope = (q.root.transpose(-1, -2).unsqueeze(1) @ point.gradient.unsqueeze(-1)).squeeze(-1) + e
    length = slope.norm(dim=-1, keepdim=True)
    return slope * (_LIMIT * e.shape[-1] ** 0.5 / length.clamp(min=1e-30)).clamp(max=1)
