"""A proposal that adapts to the posterior: an encoder, and a Gaussian that learns from weights."""

from __future__ import annotations

import dataclasses
import math

import torch

from ...priors.posterior import GaussianPosterior, Posterior
from ...rng import Streams

#: Share of draws from the encoder: enough for a frame to recover if its learnt Gaussian is in the wrong place.
ENCODER_SHARE = 0.1
#: Before the proposal learns from weights they are flattened, until their effective sample size is this share
#: of the draws.
ESS_SHARE = 0.25
#: Share of the way to the weighted moments in one step: of the mean and the common width, and of each latent's
#: own variance relative to that width, about which a few draws say less.
RATE, OWN_RATE = 0.5, 0.15
_LOG_VARIANCE_RANGE = (-12.0, 3.0)
_HALVINGS = 12


@dataclasses.dataclass(frozen=True)
class Proposal:
    """q(z_n) = a N(z; encoder) + (1 - a) N(z; learnt), a = ENCODER_SHARE, frame by frame.

    In tens of dimensions an encoder's Gaussian may miss the posterior in place and in width; then one draw has
    all the weight. The second Gaussian starts as the encoder's and is moved and rescaled by :meth:`learn`. Both
    are proper densities, so weights by their mixture are exact whatever the second one is.

    Cappé, Douc, Guillin, Marin and Robert, Adaptive importance sampling in general mixture classes, 2008
    (proposals fitted to their weighted draws); Hesterberg, Weighted average importance sampling and defensive
    mixture distributions, 1995 (the fixed component); Koblents and Míguez, A population Monte Carlo scheme with
    transformed weights and its application to stochastic kinetic models, 2015 (learning from flattened
    weights). Departures: a power flattens the weights, and each step goes part of the way.
    """

    encoder: GaussianPosterior
    learnt: GaussianPosterior

    @classmethod
    def start(cls, encoder: Posterior) -> Proposal:
        """A proposal that has not learnt yet."""
        learnt = GaussianPosterior(encoder.mean, encoder.log_variance.clamp(*_LOG_VARIANCE_RANGE))
        return cls(learnt, learnt).with_encoder(encoder)

    def with_encoder(self, encoder: Posterior) -> Proposal:
        """The same proposal with another encoder component: the Gaussian with the moments of ``encoder``."""
        return dataclasses.replace(self, encoder=GaussianPosterior(encoder.mean, encoder.log_variance))

    def draw(self, draws: int, streams: Streams) -> tuple[torch.Tensor, torch.Tensor]:
        """z (B, R, N, L), each draw from one of the components at random, and log q (B, R, N)."""
        dtype = self.learnt.mean.dtype
        which = streams.uniform_draws(draws, dtype=dtype) < ENCODER_SHARE
        epsilon = streams.normal_draws(draws, self.learnt.mean.shape[-1], dtype=dtype)
        encoder, learnt = (
            q.mean.unsqueeze(1) + torch.exp(0.5 * q.log_variance).unsqueeze(1) * epsilon
            for q in (self.encoder, self.learnt)
        )
        z = torch.where(which.unsqueeze(-1), encoder, learnt)
        return z, self.log_prob(z)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """log q of z (B, R, N, L), shape (B, R, N)."""
        return torch.logaddexp(
            self.encoder.log_prob(z) + math.log(ENCODER_SHARE),
            self.learnt.log_prob(z) + math.log1p(-ENCODER_SHARE),
        )

    def learn(self, z: torch.Tensor, log_weight: torch.Tensor) -> Proposal:
        """The proposal with its Gaussian moved towards the weighted moments of its draws z (B, R, N, L).

        ``log_weight`` (B, R, N): log p(x, z) - log q(z), up to a constant of the frame.
        """
        weight = flattened(log_weight, ESS_SHARE * z.shape[1]).unsqueeze(-1)
        centred = z - self.learnt.mean.unsqueeze(1)
        # Relative excess of the weighted squares over the variances, -1 or more; clamped below.
        excess = (weight * centred.square()).sum(1) / self.learnt.log_variance.exp() - 1
        width = excess.mean(-1, keepdim=True)
        step = RATE * width.clamp(max=1) + OWN_RATE * (excess - width).clamp(-1, 1)
        learnt = GaussianPosterior(
            self.learnt.mean + RATE * (weight * centred).sum(1),
            (self.learnt.log_variance + step).clamp(*_LOG_VARIANCE_RANGE),
        )
        return dataclasses.replace(self, learnt=learnt)


def flattened(log_weight: torch.Tensor, least: float) -> torch.Tensor:
    """Normalised weights w^b (B, R, N), with the largest b <= 1 for an effective sample size of ``least``.

    Bisection finds b for every frame. At b = 0 the weights are equal, so there is a solution for ``least`` <=
    R.

    >>> weight = flattened(torch.tensor([9.0, 0.0, 0.0, 0.0]).view(1, 4, 1), least=2.0)
    >>> round(1 / weight.square().sum().item(), 2)
    2.0
    """
    low = torch.zeros_like(log_weight[:, 0])
    high = torch.ones_like(low)
    power = high  # b = 1 may already do
    for _ in range(_HALVINGS):
        log_w = torch.log_softmax(power.unsqueeze(1) * log_weight, 1)
        enough = torch.exp(-torch.logsumexp(2 * log_w, 1)) >= least
        low, high = torch.where(enough, power, low), torch.where(enough, high, power)
        power = (low + high) / 2
    return torch.softmax(low.unsqueeze(1) * log_weight, 1)
