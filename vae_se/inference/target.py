"""The density that the E-step draws from: p(z | x; theta) with theta = (W, H, g) held fixed."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..blocks import frame_blocks
from ..likelihood import LOG_PI


@dataclasses.dataclass(frozen=True)
class Target:
    """x_fn | z_n ~ N_c(0, g_n v_f(z_n) + n_fn), with the prior p(z).

    ``prior``: a SpeechPrior; ``power`` |x|^2 and ``noise`` n, both (B, N, F); ``gain`` g and ``mask``
    (1 where a frame exists), both (B, N); ``proposal``: a posterior object, q(z | noisy recording), or None.
    """

    prior: Any
    power: torch.Tensor
    noise: torch.Tensor
    gain: torch.Tensor
    mask: torch.Tensor
    proposal: Any = None

    def encode(self, power: torch.Tensor) -> Any:
        """q(z | power) for power (B, N, F): where kernels start, and what they propose from.

        Where a noisy encoder has seen the noisy recording, it is what the network said.
        """
        return self.prior.encode(power, self.mask) if self.proposal is None else self.proposal

    @property
    def tied(self) -> bool:
        """Whether the prior ties frames together: then the latents of a recording are one trajectory."""
        return not self.prior.factorised

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """The decoder's log-variance (B, R, N, F) of latents (B, R, N, L)."""
        log_variance: torch.Tensor = self.prior.decode(z, self.mask)
        return log_variance

    def generate(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, and log p(z_n | z_1..n-1) (B, R, N), 0 in padding where frames are tied."""
        log_variance, log_prior = self.prior.generate(z, self.mask)
        return log_variance, log_prior * self.mask.unsqueeze(1) if self.tied else log_prior

    def less_noise(self, floor: float) -> torch.Tensor:
        """The power less the noise, at least ``floor`` times the power, (B, N, F): what an encoder is shown."""
        return torch.maximum(self.power - self.noise, floor * self.power)

    def speech_variance(self, log_variance: torch.Tensor) -> torch.Tensor:
        """g v(z), (B, R, N, F), from the decoder's log-variance."""
        return torch.exp(log_variance).mul_(self.gain[:, None, :, None])

    def at(self, frames: slice) -> Target:
        """The same for some of the frames."""
        power, noise, gain, mask = (t[:, frames] for t in (self.power, self.noise, self.gain, self.mask))
        return dataclasses.replace(self, power=power, noise=noise, gain=gain, mask=mask)

    def log_likelihood(self, log_variance: torch.Tensor) -> torch.Tensor:
        """log p(x_n | z_n) summed over bins, (B, R, N)."""
        value = log_variance.new_empty(log_variance.shape[:3])
        for frames in frame_blocks(log_variance):
            part = self.at(frames)
            variance = part.speech_variance(log_variance[:, :, frames]).add_(part.noise.unsqueeze(1))
            fit = part.power.unsqueeze(1) / variance
            torch.sum(variance.log_().add_(fit), -1, out=value[:, :, frames])
        return value.neg_().sub_(LOG_PI * self.power.shape[-1])

    def log_likelihood_and_gradient(self, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-likelihood (B, R, N), and its derivative by the decoder's log-variance (B, R, N, F).

        With V = g v + n and v = exp(eta):  d/d eta (-log V - |x|^2 / V) = (g v / V) (|x|^2 / V - 1).
        """
        value = log_variance.new_empty(log_variance.shape[:3])
        slope = torch.empty_like(log_variance)
        for frames in frame_blocks(log_variance):
            part = self.at(frames)
            share = torch.exp(log_variance[:, :, frames], out=slope[:, :, frames])
            share.mul_(part.gain[:, None, :, None])
            variance = share + part.noise.unsqueeze(1)
            inverse = variance.reciprocal()
            share.mul_(inverse)
            fit = inverse.mul_(part.power.unsqueeze(1))
            torch.sum(variance.log_().add_(fit), -1, out=value[:, :, frames])
            share.mul_(fit.sub_(1))
        return value.neg_().sub_(LOG_PI * self.power.shape[-1]), slope

    def fisher(self, log_variance: torch.Tensor) -> torch.Tensor:
        """Fisher information of x about the decoder's log-variance, (g v / V)^2, (B, R, N, F).

        It is minus the expectation of the derivative of the slope above under the model, E|x|^2 = V.
        """
        speech = self.speech_variance(log_variance)
        return speech.div_(speech + self.noise.unsqueeze(1)).square_()

    def speech_power(self, log_variance: torch.Tensor, log_weight: torch.Tensor) -> torch.Tensor:
        """E[|s|^2 | x] under weighted draws, (B, N, F): what a clean-speech encoder should be shown."""
        speech = self.speech_variance(log_variance)
        share = speech / (speech + self.noise.unsqueeze(1))
        second = share * (share * self.power.unsqueeze(1) + self.noise.unsqueeze(1))
        return torch.einsum("brn,brnf->bnf", log_weight.exp(), second)
