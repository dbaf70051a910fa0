"""What a noisy encoder proposes: its own posterior of the speech, from which EM starts."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import torch

from ..likelihood import LogVariances
from ..numerics import TINY
from ..priors.base import LatentPrior
from ..priors.posterior import GaussianPosterior, Posterior

#: No voice is lower, in Hz. What training speech has below it is the rumble of its recordings.
VOICE_FROM_HZ = 50.0

#: Factor on the decoder's variance below VOICE_FROM_HZ, in place of the network's deviation. It was chosen on
#: speakers of VCTK in synthetic rumble, and clean (eval/experiments.md).
RUMBLE = 0.3


class Encoding(Protocol):
    """Output of a noisy encoder."""

    @property
    def posterior(self) -> Posterior:
        """q(z | noisy recording)."""

    @property
    def log_noise(self) -> torch.Tensor:
        """Log-variance of the noise, (B, N, F)."""

    @property
    def log_deviation(self) -> torch.Tensor | None:
        """What is added to the decoder's log-variance of the speech, (B, N, F), or None."""

    @property
    def spread(self) -> GaussianPosterior | None:
        """q(z | noisy recording) with a variance that also holds the network's own error, or None."""

    @property
    def noise_std(self) -> torch.Tensor | None:
        """Standard deviation of the log-variance of the noise given the recording, (B, N, F), or None."""


class NoisyEncoderNetwork(Protocol):
    """A noisy encoder, as EM sees it."""

    @property
    def noise_aware(self) -> bool:
        """Whether the network also sees variances that EM has found."""

    def __call__(
        self, power: torch.Tensor, mask: torch.Tensor, *, given: LogVariances | None = None
    ) -> Encoding:
        """Encoding of noisy power (B, N, F) with frame validity ``mask`` (B, N), and of ``given`` variances of
        speech and noise, which have no influence on a network that is not noise-aware."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """The posterior of the speech under the variances of a noisy encoder.

    Given speech variance v and noise variance n, s is complex Gaussian with mean m x, m = v / (v + n), and
    variance m n. ``wiener`` m, ``variance`` m n, and ``noise_power`` E|b|^2 are (B, N, F); ``posterior``: q(z)
    of the prior's encoder at the speech power |m x|^2; ``deviation`` (B, N, F): the factor on the decoder's
    variance that EM keeps, or None; ``context``: the mean of ``posterior`` with the variance of z given the
    noisy recording, the network's own error included, or None where the network does not say it.
    """

    wiener: torch.Tensor
    variance: torch.Tensor
    noise_power: torch.Tensor
    posterior: Posterior
    deviation: torch.Tensor | None = None
    context: GaussianPosterior | None = None


def proposal_of(
    encoding: Encoding,
    latents_of: LatentPrior,
    prior: LatentPrior,
    power: torch.Tensor,
    mask: torch.Tensor,
    deviation_weight: float,
) -> Proposal:
    """The proposal that an ``encoding`` of the noisy ``power`` (B, N, F) implies for EM with ``prior``.

    ``latents_of``: the prior whose latents the encoding has. The two may differ: what passes from one to the
    other is the power of the speech, which ``prior`` encodes anew.

    The speech variance is the decoder's at the mean of q(z | noisy recording), with the deviation of the
    network where it has one. EM keeps the deviation to the power ``deviation_weight``. Below VOICE_FROM_HZ the
    deviation is RUMBLE for both: the network takes the rumble of cars for that of its training speech.
    """
    log_speech = latents_of.decode(encoding.posterior.mean.unsqueeze(1), mask)[:, 0]
    deviation = None
    if encoding.log_deviation is not None:
        below = math.ceil(VOICE_FROM_HZ * prior.signal.window / prior.signal.rate)
        log_deviation = encoding.log_deviation.clone()
        log_deviation[..., :below] = math.log(RUMBLE)
        log_speech = log_speech + log_deviation
        if deviation_weight:
            deviation = torch.exp(deviation_weight * log_deviation)
            deviation[..., :below] = RUMBLE
    wiener = torch.sigmoid(log_speech - encoding.log_noise)
    variance = wiener * encoding.log_noise.exp()
    noise_power = (1 - wiener).square() * power + variance
    if encoding.noise_std is not None:
        # The variance of the mean m x under the log-normal noise, to first order: dm / d log n = -m (1 - m).
        variance = variance + (wiener * (1 - wiener) * encoding.noise_std).square() * power
    posterior, context = prior.encode(wiener.square() * power, mask), None
    if encoding.spread is not None and latents_of is prior:
        context = GaussianPosterior(posterior.mean, encoding.spread.log_variance)
    return Proposal(wiener, variance, noise_power, posterior, deviation, context)


def opinion_pool(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor], weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of p^weight q^(1 - weight), normalised, for Gaussians ``first`` p and ``second`` q.

    Each is a pair of mean and variance. It is the logarithmic opinion pool (Genest and Zidek, Combining
    probability distributions, 1986): the mean with weights by precision, so that at every bin the estimate that
    is surer counts for more.

    >>> one = torch.ones(1)
    >>> [float(x) for x in opinion_pool((0 * one, one), (one, one / 3), 0.5)]
    [0.75, 0.5]
    """
    precisions = (weight / (first[1] + TINY), (1 - weight) / (second[1] + TINY))
    total = precisions[0] + precisions[1]
    return (precisions[0] * first[0] + precisions[1] * second[0]) / total, 1 / total
