"""Variational E-step with a full covariance per frame, by Gauss-Newton steps."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ...errors import UsageError
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .divergence import divergence_from_prior
from .gradient import Point, joint_point, likelihood_point

#: Step of the forward difference in z, whose prior has unit variance. In float32 the derivative has an error of
#: about a thousandth, which is enough for the shape of a Gaussian.
_DIFFERENCE = 1e-2
#: Frames whose Jacobians are in memory together; with 32 latents and 513 bins, 256 frames take 16 MiB.
_FRAMES = 256


@dataclasses.dataclass(frozen=True)
class FullGaussian:
    """q(z_n) = N(mean, root root^T): mean (B, N, L), root (B, N, L, L) upper triangular."""

    mean: torch.Tensor
    root: torch.Tensor

    def draw(self, draws: int, streams: Streams) -> torch.Tensor:
        """z (B, R, N, L), in pairs mirrored at the mean.

        The gradient averaged over a pair is free of the terms that are odd in z - mean.
        """
        half = streams.normal_draws(-(-draws // 2), self.mean.shape[-1], dtype=self.mean.dtype)
        return self.mean.unsqueeze(1) + self.spread(torch.cat([half, -half], 1)[:, :draws])

    def spread(self, epsilon: torch.Tensor) -> torch.Tensor:
        """root @ epsilon, (B, R, N, L)."""
        return (self.root.unsqueeze(1) @ epsilon.unsqueeze(-1)).squeeze(-1)

    def whiten(self, z: torch.Tensor) -> torch.Tensor:
        """The epsilon (B, R, N, L) for which z = mean + root @ epsilon."""
        centred = (z - self.mean.unsqueeze(1)).permute(0, 2, 3, 1)
        return torch.linalg.solve_triangular(self.root, centred, upper=True).permute(0, 3, 1, 2)

    def diagonal(self) -> torch.Tensor:
        """Mean and log-variance of each latent, (2, B, N, L)."""
        return torch.stack([self.mean, self.root.square().sum(-1).log()])

    def correlation(self) -> torch.Tensor:
        """KL(q || the product of its latents' Gaussians), (B, N)."""
        return 0.5 * (self.diagonal()[1].sum(-1) - self.log_det())

    def log_det(self) -> torch.Tensor:
        """Logarithm of the covariance's determinant, (B, N)."""
        return 2 * self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def kl(self) -> torch.Tensor:
        """KL(q || N(0, I)), (B, N).

        >>> FullGaussian(torch.ones(1, 1, 2), torch.eye(2).expand(1, 1, 2, 2)).kl()
        tensor([[1.]])
        """
        trace = self.root.square().sum((-2, -1))
        return 0.5 * (trace + self.mean.square().sum(-1) - self.mean.shape[-1] - self.log_det())


def gauss_newton(target: Target, mean: torch.Tensor, further: torch.Tensor | None = None) -> FullGaussian:
    """The Gaussian around ``mean`` (B, N, L) with precision P + J^T D J + ``further`` (B, N, L, L).

    J (F, L) is the decoder's Jacobian, D the Fisher information about its output, and P the precision of the
    prior: I for N(0, I), and that of p(z_n | mean_1..n-1) for a prior that ties the frames together. The
    precision is minus the Hessian of log p(x, z) without the decoder's second derivative and with E|x|^2 in
    place of |x|^2, hence positive definite (Schraudolph, Fast curvature matrix-vector products for second-order
    gradient descent, 2002). It costs L decodings of each frame. Raises UsageError where frames are not decoded
    one by one, and where p(z) is no Gaussian in closed form.
    """
    conditional = target.prior.conditional_prior(mean.unsqueeze(1))
    if not target.prior.frame_decoder or (conditional is None and not target.prior.standard_normal):
        raise UsageError(
            "a covariance per frame needs a prior with Gaussian latents that decodes frame by frame",
            "choose another E-step",
        )
    latent = mean.shape[-1]
    eye = torch.eye(latent, dtype=mean.dtype, device=mean.device)
    own = eye if conditional is None else torch.diag_embed(torch.exp(-conditional[1][:, 0]))
    weight = target.fisher(target.decode(mean.unsqueeze(1)))[:, 0].sqrt_()
    precision = torch.empty(*mean.shape, latent, dtype=mean.dtype, device=mean.device)
    for start in range(0, mean.shape[1], _FRAMES):
        here = slice(start, start + _FRAMES)
        z = mean[:, here].unsqueeze(2)
        moved = target.decode_directions(z + _DIFFERENCE * eye, here)
        jacobian = (moved - target.decode_directions(z, here)).mul_(weight[:, here].unsqueeze(2) / _DIFFERENCE)
        precision[:, here] = jacobian @ jacobian.transpose(-1, -2) + (own if own is eye else own[:, here])
    if further is not None:
        precision += further
    lower = torch.linalg.cholesky(precision)
    # precision = C C^T, so root = C^-T.
    inverse = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
    return FullGaussian(mean, inverse.transpose(-1, -2).contiguous())


@dataclasses.dataclass(frozen=True)
class FullState:
    """q, the draws of the last step, and the number of steps done."""

    q: FullGaussian
    draws: Draws
    steps: int


@ESTEPS.add("vem-full")
@dataclasses.dataclass(frozen=True)
class FullVariational(EStep[FullState]):
    """q(z_n) = N(m, S), S^-1 = I + J^T D J (Gauss-Newton), m <- m + rate * S * mean_r grad log p(x, z^(r)).

    If the prior ties the frames together, q is a product over frames, its divergence from p(z) is that of
    :mod:`.divergence`, and the precision of p(z_n | m_1..n-1) stands for I.

    This is natural-gradient variational inference with a Gauss-Newton matrix at the mean in place of the
    expected Hessian: Khan et al., Fast and scalable Bayesian deep learning by weight-perturbation in Adam,
    2018. A frame has few latents, so the full matrix is affordable, and the scale of every frame and direction
    is right from the first step on. S is computed anew at steps 0, 1, 2, 4, 8 and so on, because it changes
    less and less.

    ``draws``: R; ``steps``: steps per E-step; ``learning_rate``: fraction of the Newton step, whose length is
    limited to ``sqrt(L)`` standard deviations of q.
    """

    trajectories: ClassVar[bool] = True
    by_frame: ClassVar[bool] = True
    draws: int = 2
    steps: int = 1
    learning_rate: float = 0.3

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> FullState:
        """q starts around the mean of the initial posterior."""
        q = gauss_newton(target, target.initial_posterior(power).mean)
        z = q.draw(self.draws, streams)
        return FullState(q, Draws.equal(z, target.decode(z)), 0)

    def step(self, target: Target, state: FullState, streams: Streams) -> tuple[FullState, EStepInfo]:
        """``steps`` steps; the draws are those of the last one."""
        q, done, _, point, bound = self.fit(target, state.q, state.steps, streams)
        info = EStepInfo(objective=frame_mean(bound, target.mask), ess=torch.full_like(bound[:, 0], self.draws))
        return FullState(q, Draws.equal(point.z, point.log_variance), done), info

    def fit(
        self, target: Target, q: FullGaussian, done: int, streams: Streams
    ) -> tuple[FullGaussian, int, FullGaussian, Point, torch.Tensor]:
        """``steps`` steps from q, of which ``done`` were made before.

        Returns the new q, the number of steps done now, the q of the last draws with these draws, and the bound
        (B, N) at them.
        """
        for _ in range(self.steps):
            if done & (done - 1) == 0:
                q = gauss_newton(target, q.mean)
            drawn = q
            point, bound = _point(target, q, q.draw(self.draws, streams))
            q, done = self.ascend(q, point), done + 1
        return q, done, drawn, point, bound

    def ascend(self, q: FullGaussian, point: Point) -> FullGaussian:
        """The Newton step of the mean, which in units of q is root^T g."""
        move = (q.root.transpose(-1, -2) @ point.gradient.mean(1).unsqueeze(-1)).squeeze(-1)
        bound = q.mean.shape[-1] ** 0.5 / move.norm(dim=-1, keepdim=True).clamp(min=1e-30)
        move = self.learning_rate * move * bound.clamp(max=1)
        return FullGaussian(q.mean + q.spread(move.unsqueeze(1))[:, 0], q.root)


def _point(target: Target, q: FullGaussian, z: torch.Tensor) -> tuple[Point, torch.Tensor]:
    """log p(x, z) at the draws z of q with its gradient, and the evidence lower bound of every frame, (B, N).

    If the prior ties the frames together: log p(x | z), and the gradient of the bound.
    """
    if not target.tied:
        point = joint_point(target, z)
        return point, (point.value - target.prior.log_prior(z)).mean(1) - q.kl()
    # It exists where gauss_newton() does.
    divergence = divergence_from_prior(target, q.diagonal())
    assert divergence is not None
    point = likelihood_point(target, z)
    bound = point.value.mean(1) - divergence[0] - q.correlation()
    return dataclasses.replace(point, gradient=point.gradient - divergence[1][0].unsqueeze(1)), bound
