"""The density that an E-step draws from: p(z | x; theta) at fixed parameters theta = (W, H, g)."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import blockwise
from ..likelihood import frame_log_prob
from ..priors.base import LatentPrior
from ..priors.posterior import Posterior
from .contextual import ContextualPrior


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """log p(x_n | z_n) at draws, and what else the same pass over the bins gives.

    ``value`` (B, R, N); ``slope`` (B, R, N, F): its derivative by the decoder's log-variance; ``filter_sum``
    and ``power_sum`` (B, R, N): sum_f g v / V and sum_f |x|^2 g v / V^2, which the M-step of the gain needs.
    """

    value: torch.Tensor
    slope: torch.Tensor
    filter_sum: torch.Tensor
    power_sum: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Target:
    """x_fn | z_n ~ N_c(0, V_fn) with V_fn = g_n d_fn v_f(z_n) + n_fn, and the prior p(z).

    ``power`` |x|^2 and ``noise`` n are (B, N, F); ``gain`` g and ``mask`` (1 where a frame is valid) are (B,
    N). A noisy encoder adds ``noisy_posterior``, q(z | noisy recording), and ``deviation`` d (B, N, F); None
    means the prior's own encoder, and d = 1. Other docstrings write v for d v.
    """

    prior: LatentPrior
    power: torch.Tensor
    noise: torch.Tensor
    gain: torch.Tensor
    mask: torch.Tensor
    noisy_posterior: Posterior | None = None
    deviation: torch.Tensor | None = None

    def encode(self, power: torch.Tensor) -> Posterior:
        """q(z | s) of the prior's own encoder for speech power (B, N, F)."""
        return self.prior.encode(power, self.mask)

    def initial_posterior(self, power: torch.Tensor) -> Posterior:
        """The posterior from which a kernel starts.

        It is that of the noisy encoder if there is one, else the prior's own encoder at ``power`` (B, N, F).
        """
        return self.encode(power) if self.noisy_posterior is None else self.noisy_posterior

    @property
    def tied(self) -> bool:
        """Whether the prior ties the frames together, so that the latents of a recording are one trajectory."""
        return not self.prior.factorised

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """The decoder's log-variance (B, R, N, F) of latents (B, R, N, L)."""
        return self.prior.decode(z, self.mask)

    def decode_directions(self, z: torch.Tensor, frames: slice) -> torch.Tensor:
        """Log-variance (B, n, D, F) of D latents z (B, n, D, L) for each of n ``frames``.

        Only for priors that decode every frame by itself.
        """
        if isinstance(self.prior, ContextualPrior):
            return self.prior.decode_directions(z, frames)
        # Such a prior decodes any two dimensions before the latents.
        return self.prior.decode(z)

    def generate(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The decoder's log-variance (B, R, N, F), and log p(z_n | z_1..n-1) (B, R, N).

        The latter is 0 in padding if the prior ties the frames together.
        """
        log_variance, log_prior = self.prior.generate(z, self.mask)
        return log_variance, log_prior * self.mask.unsqueeze(1) if self.tied else log_prior

    def less_noise(self, floor: float) -> torch.Tensor:
        """max(|x|^2 - n, floor |x|^2), (B, N, F): an estimate of the speech power for an encoder."""
        return torch.maximum(self.power - self.noise, floor * self.power)

    def speech_variance(self, log_variance: torch.Tensor) -> torch.Tensor:
        """g v(z), (B, R, N, F), from the decoder's log-variance."""

        def of_block(frames: slice) -> tuple[torch.Tensor]:
            scale = self.gain[:, frames, None]
            if self.deviation is not None:
                scale = scale * self.deviation[:, frames]
            return (torch.exp(log_variance[:, :, frames]).mul_(scale.unsqueeze(1)),)

        return blockwise(of_block, log_variance)[0]

    def at(self, frames: slice) -> Target:
        """The same density for some of the frames."""
        power, noise, gain, mask = (t[:, frames] for t in (self.power, self.noise, self.gain, self.mask))
        deviation = None if self.deviation is None else self.deviation[:, frames]
        prior = self.prior.frames(frames) if isinstance(self.prior, ContextualPrior) else self.prior
        return dataclasses.replace(
            self, prior=prior, power=power, noise=noise, gain=gain, mask=mask, deviation=deviation
        )

    def log_likelihood(self, log_variance: torch.Tensor) -> torch.Tensor:
        """log p(x_n | z_n), summed over bins, (B, R, N)."""

        def of_block(frames: slice) -> tuple[torch.Tensor]:
            part = self.at(frames)
            variance = part.speech_variance(log_variance[:, :, frames]).add_(part.noise.unsqueeze(1))
            ratio = part.power.unsqueeze(1) / variance
            return (frame_log_prob(variance.log_(), ratio),)

        return blockwise(of_block, log_variance)[0]

    def log_likelihood_and_gradient(self, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-likelihood (B, R, N), and its derivative by the decoder's log-variance (B, R, N, F)."""
        found = self.likelihood_at(log_variance)
        return found.value, found.slope

    def likelihood_at(self, log_variance: torch.Tensor) -> Likelihood:
        """The likelihood and its derivative at the decoder's log-variance (B, R, N, F).

        With v = exp(eta):  d/d eta (-log V - |x|^2 / V) = (g v / V) (|x|^2 / V - 1).
        """

        def of_block(frames: slice) -> tuple[torch.Tensor, ...]:
            part = self.at(frames)
            speech = part.speech_variance(log_variance[:, :, frames])
            variance = speech + part.noise.unsqueeze(1)
            inverse = variance.reciprocal()
            share = speech.mul_(inverse)
            ratio = inverse.mul_(part.power.unsqueeze(1))
            value = frame_log_prob(variance.log_(), ratio)
            filter_sum = share.sum(-1)
            slope = share.mul_(ratio.sub_(1))
            return value, slope, filter_sum, slope.sum(-1).add_(filter_sum)

        return Likelihood(*blockwise(of_block, log_variance))

    def fisher(self, log_variance: torch.Tensor) -> torch.Tensor:
        """Fisher information of x about the decoder's log-variance: (g v / V)^2, (B, R, N, F).

        It is minus the expectation, under E|x|^2 = V, of the derivative of the slope of the log-likelihood.
        """
        speech = self.speech_variance(log_variance)
        return speech.div_(speech + self.noise.unsqueeze(1)).square_()

    def speech_power(self, log_variance: torch.Tensor, log_weight: torch.Tensor) -> torch.Tensor:
        """E[|s|^2 | x] under weighted draws, (B, N, F): an estimate of the speech power for an encoder."""
        speech = self.speech_variance(log_variance)
        share = speech / (speech + self.noise.unsqueeze(1))
        second = share * (share * self.power.unsqueeze(1) + self.noise.unsqueeze(1))
        return torch.einsum("brn,brnf->bnf", log_weight.exp(), second)
