"""The posterior of a dynamical prior: each step given the steps before it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from ...deprecated import renamed_attribute
from ...likelihood import gaussian_log_prob
from ..posterior import GaussianPosterior, Posterior, standard_normal
from .sequences import Recurrent, run, shifted, step

if TYPE_CHECKING:
    from ...rng import Streams

# Range of the log-variances of q(z_n | ...) and p(z_n | ...).
_LOG_VARIANCE = (-12.0, 4.0)

#: Generated latents stay within +- this. Those of speech do (of its posterior means, one in ten thousand is
#: further out); where a rare draw may lead, nothing holds a recurrence that was trained on speech, and it can
#: run away.
GENERATED_RANGE = 4.0


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Latents z (M, N, L) over time, and the mean and log-variance of each step given the steps before it."""

    z: torch.Tensor
    mean: torch.Tensor
    log_variance: torch.Tensor


@dataclasses.dataclass(frozen=True)
class LatentRecursion:
    """The layers by which the posterior of step n depends on the latents before n.

    ``tracker``: recurrent network over z_1..n-1, of whose state d_n the moments are a function; None: d_n is
    z_{n-1}. ``inner``: d_n to the hidden layer, or None: the steps do not depend on each other; ``head``:
    hidden layer to 2 L moments.
    """

    tracker: Recurrent | None
    inner: nn.Linear | None
    head: nn.Linear

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.head.out_features // 2


@dataclasses.dataclass(frozen=True)
class SequencePosterior:
    """q(z | x) = prod_n q(z_n | z_1..n-1, x), each factor a diagonal Gaussian.

    Its moments are ``direct_n + head(silu(context_n + inner(d_n)))``, with d_n as in :class:`LatentRecursion`.

    ``context`` (B, N, H) and ``direct`` (B, N, 2 L): functions of the speech; ``past`` (B, N, E): further
    input of the tracker, a function of the earlier speech, or None; ``present`` (N, L): 0 where a latent does
    not exist (its q is N(0, 1), like its p), or None.
    """

    recursion: LatentRecursion
    context: torch.Tensor
    direct: torch.Tensor
    past: torch.Tensor | None = None
    present: torch.Tensor | None = None

    def along(self, epsilon: torch.Tensor) -> Trajectory:
        """The reparameterised trajectory of standard normal numbers (M, N, L), M = B R.

        It is computed step by step where each mean depends on the draw before it.
        """
        if self.recursion.inner is None:
            return self._at_once(epsilon)
        tracker, draws = self.recursion.tracker, len(epsilon) // len(self.context)
        context, direct = (t.repeat_interleave(draws, 0) for t in (self.context, self.direct))
        past = None if self.past is None else self.past.repeat_interleave(draws, 0)
        z = torch.zeros_like(epsilon[:, 0])
        state = z if tracker is None else z.new_zeros(len(z), tracker.hidden_size)
        steps = []
        for n in range(epsilon.shape[1]):
            if tracker is None:
                state = z
            else:
                state = step(tracker, z if past is None else torch.cat([past[:, n], z], -1), state)
            mean, log_variance = self._moments(context[:, n], direct[:, n], state, n)
            z = reparameterised(mean, log_variance, epsilon[:, n])
            steps.append(torch.stack([z, mean, log_variance]))
        return Trajectory(*torch.stack(steps, 2))

    def _at_once(self, epsilon: torch.Tensor) -> Trajectory:
        """The trajectory of steps that do not depend on each other."""
        draws = len(epsilon) // len(self.context)
        moments = self._moments(self.context, self.direct, None, slice(None))
        mean, log_variance = (values.repeat_interleave(draws, 0) for values in moments)
        return Trajectory(reparameterised(mean, log_variance, epsilon), mean, log_variance)

    def _moments(
        self, context: torch.Tensor, direct: torch.Tensor, state: torch.Tensor | None, at: int | slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance at the steps ``at``, given d_n = ``state``, or None without ``inner``."""
        inner = self.recursion.inner
        hidden = functional.silu(context if inner is None or state is None else context + inner(state))
        mean, log_variance = moments(direct + self.recursion.head(hidden))
        if self.present is not None:
            mean, log_variance = mean * self.present[at], log_variance * self.present[at]
        return mean, log_variance

    def rsample(
        self, draws: int, generator: torch.Generator | Streams | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised trajectories z (B, R, N, L) and log q of each step (B, R, N)."""
        path = self.draw(draws, generator)
        shape = (-1, draws, *path.z.shape[1:])
        log_q = gaussian_log_prob(path.z, path.mean, path.log_variance)
        return path.z.view(shape), log_q.view(shape[:3])

    def draw(self, draws: int, generator: torch.Generator | Streams | None = None) -> Trajectory:
        """``draws`` trajectories of each recording, M = B R, with the moments along them."""
        return self.along(standard_normal(self._like(), draws, generator).flatten(0, 1))

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q(z_n | z_1..n-1, x) of z (B, R, N, L), (B, R, N): all steps at once."""
        tracker, draws, before = self.recursion.tracker, z.shape[1], shifted(z.flatten(0, 1))
        context, direct = (t.repeat_interleave(draws, 0) for t in (self.context, self.direct))
        state: torch.Tensor | None
        if self.recursion.inner is None:
            state = None
        elif tracker is None:
            state = before
        elif self.past is None:
            state = run(tracker, before)
        else:
            state = run(tracker, torch.cat([self.past.repeat_interleave(draws, 0), before], -1))
        mean, log_variance = self._moments(context, direct, state, slice(None))
        return gaussian_log_prob(z.flatten(0, 1), mean, log_variance).view(z.shape[:3])

    def _like(self) -> torch.Tensor:
        """A tensor with the shape of the moments, (B, N, L)."""
        return self.direct[..., : self.recursion.latent_dim]

    @functools.cached_property
    def _central(self) -> Trajectory:
        return self.along(torch.zeros_like(self._like()))

    @property
    def mean(self) -> torch.Tensor:
        """The central trajectory (B, N, L): each step is the mean given the steps before it."""
        return self._central.mean

    @property
    def log_variance(self) -> torch.Tensor:
        """Log-variance (B, N, L) of each step given the steps before it, along the central trajectory."""
        return self._central.log_variance


class DrawnPosterior(Posterior, Protocol):
    """A posterior that also returns the moments along its draws."""

    def draw(self, draws: int, generator: torch.Generator | Streams | None = None) -> Trajectory:
        """``draws`` trajectories of each recording, M = B R, with the moments along them."""


@dataclasses.dataclass(frozen=True)
class FramewisePosterior(GaussianPosterior):
    """q(z_n | s_n): frames that do not depend on each other, of a prior in which they do."""

    def draw(self, draws: int, generator: torch.Generator | Streams | None = None) -> Trajectory:
        """``draws`` trajectories of each recording, M = B R, with the moments along them."""
        z, _ = self.rsample(draws, generator)
        mean, log_variance = (t.repeat_interleave(draws, 0) for t in (self.mean, self.log_variance))
        return Trajectory(z.flatten(0, 1), mean, log_variance)


def moments(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and clamped log-variance, (..., L) each, from the output (..., 2 L) of a layer.

    >>> moments(torch.tensor([1.0, 2.0, -3.0, 99.0]))
    (tensor([1., 2.]), tensor([-3.,  4.]))
    """
    mean, log_variance = raw.chunk(2, -1)
    return mean, functional.hardtanh(log_variance, *_LOG_VARIANCE)


def reparameterised(mean: torch.Tensor, log_variance: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """A reparameterised sample: mean + std * epsilon, with standard normal ``epsilon``.

    >>> reparameterised(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.5)).item()
    1.5
    """
    return mean + torch.exp(0.5 * log_variance) * epsilon


def generated(mean: torch.Tensor, log_variance: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """The next latents of a trajectory that the model generates: a reparameterised sample within
    GENERATED_RANGE."""
    return reparameterised(mean, log_variance, epsilon).clamp(-GENERATED_RANGE, GENERATED_RANGE)


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"moved": "reparameterised"})
