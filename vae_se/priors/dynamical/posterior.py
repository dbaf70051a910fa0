"""The posterior of a prior with memory: each step given the steps before it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from ...likelihood import gaussian_log_prob
from ..posterior import standard_normal
from .sequences import run, shifted, step

if TYPE_CHECKING:
    from ...rng import Streams
    from .base import Dynamical


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Latents z (M, N, L) over time, and the mean and log-variance of each step given those before it."""

    z: torch.Tensor
    mean: torch.Tensor
    log_variance: torch.Tensor


@dataclasses.dataclass(frozen=True)
class SequencePosterior:
    """q(z | x) = prod_n q(z_n | z_1..n-1, x), each factor a diagonal Gaussian.

    Its moments are ``direct_n + head(silu(context_n + W d_n))``, d_n = z_{n-1}, or what a recurrent network
    makes of z_1..n-1 (and, in a model where the speech's past drives it, of that).

    ``prior``: the model that the layers belong to; ``context`` (B, N, H) and ``direct`` (B, N, 2 L): what it
    has heard of the speech; ``past`` (B, N, E): what the recurrent network is given besides the latents, or
    None; ``present`` (N, L): 0 where a latent does not exist (it then is N(0, 1), as a priori), or None.
    """

    prior: Dynamical
    context: torch.Tensor
    direct: torch.Tensor
    past: torch.Tensor | None = None
    present: torch.Tensor | None = None

    def along(self, epsilon: torch.Tensor) -> Trajectory:
        """The trajectory that standard normal numbers (M, N, L) drive, M = B R.

        Step by step, since each mean depends on the draw before it.
        """
        prior, draws = self.prior, len(epsilon) // len(self.context)
        context, direct = (t.repeat_interleave(draws, 0) for t in (self.context, self.direct))
        past = None if self.past is None else self.past.repeat_interleave(draws, 0)
        z = torch.zeros_like(epsilon[:, 0])
        state = z if prior.tracker is None else z.new_zeros(len(z), prior.tracker.hidden_size)
        steps = []
        for n in range(epsilon.shape[1]):
            if prior.tracker is None:
                state = z
            else:
                state = step(prior.tracker, z if past is None else torch.cat([past[:, n], z], -1), state)
            mean, log_variance = self._moments(context[:, n], direct[:, n], state, n)
            z = moved(mean, log_variance, epsilon[:, n])
            steps.append(torch.stack([z, mean, log_variance]))
        return Trajectory(*torch.stack(steps, 2))

    def _moments(
        self, context: torch.Tensor, direct: torch.Tensor, state: torch.Tensor, at: int | slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = functional.silu(context + self.prior.inner(state))
        mean, log_variance = moments(direct + self.prior.head(hidden))
        if self.present is not None:
            mean, log_variance = mean * self.present[at], log_variance * self.present[at]
        return mean, log_variance

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparametrised trajectories z (B, R, N, L) and, step by step, log q (B, R, N)."""
        path = self.draw(draws, generator)
        shape = (-1, draws, *path.z.shape[1:])
        log_q = gaussian_log_prob(path.z, path.mean, path.log_variance)
        return path.z.view(shape), log_q.view(shape[:3])

    def draw(self, draws: int, generator: torch.Generator | Streams | None = None) -> Trajectory:
        """``draws`` trajectories of each utterance, M = B R, with the moments along them."""
        like = self.direct[..., : self.prior.latent_dim]
        return self.along(standard_normal(like, draws, generator).flatten(0, 1))

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z_n | z_1..n-1, x) of z (B, R, N, L), (B, R, N): all steps at once."""
        draws, before = z.shape[1], shifted(z.flatten(0, 1))
        context, direct = (t.repeat_interleave(draws, 0) for t in (self.context, self.direct))
        if self.prior.tracker is None:
            state = before
        elif self.past is None:
            state = run(self.prior.tracker, before)
        else:
            state = run(self.prior.tracker, torch.cat([self.past.repeat_interleave(draws, 0), before], -1))
        mean, log_variance = self._moments(context, direct, state, slice(None))
        return gaussian_log_prob(z.flatten(0, 1), mean, log_variance).view(z.shape[:3])

    @functools.cached_property
    def _central(self) -> Trajectory:
        return self.along(torch.zeros_like(self.direct[..., : self.prior.latent_dim]))

    @property
    def mean(self) -> torch.Tensor:
        """The trajectory (B, N, L) each of whose steps is the mean given the steps before it."""
        return self._central.mean

    @property
    def log_variance(self) -> torch.Tensor:
        """Log-variance (B, N, L) of each step given the steps before it, along that trajectory."""
        return self._central.log_variance


def moments(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and bounded log-variance of what such a network says."""
    mean, log_variance = raw.chunk(2, -1)
    return mean, functional.hardtanh(log_variance, -12.0, 4.0)


def moved(mean: torch.Tensor, log_variance: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """What standard normal numbers make of these moments."""
    return mean + torch.exp(0.5 * log_variance) * epsilon
