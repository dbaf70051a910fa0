"""Network of the noisy encoder: q(z | x) for a noisy recording x, and the variance of its noise."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, ClassVar

import torch
from torch import nn

from ..deprecated import warn
from ..errors import UsageError
from ..likelihood import LogVariances
from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN, POWER_FLOOR
from ..priors.base import LatentPrior
from ..priors.posterior import GaussianPosterior

_LATENT_RANGE = (-8.0, 2.0)  # range of the log-variances of q


@dataclasses.dataclass(frozen=True)
class NoisyEncoding:
    """Output of the network for noisy recordings.

    ``posterior``: q(z | x); ``log_noise`` (B, N, F): log-variance of the noise; ``log_deviation`` (B, N, F):
    what the network adds to the decoder's log-variance of the speech, or None; ``spread``: q(z | x) with the
    network's own error, or None; ``noise_std`` (B, N, F): standard deviation, in nats, of the log-variance of
    the noise given x, or None.
    """

    posterior: GaussianPosterior
    log_noise: torch.Tensor
    log_deviation: torch.Tensor | None = None
    spread: GaussianPosterior | None = None
    noise_std: torch.Tensor | None = None

    def frames(self, frames: slice) -> NoisyEncoding:
        """The encoding of some of the frames, without the spread."""
        q = self.posterior
        deviation = None if self.log_deviation is None else self.log_deviation[:, frames]
        return NoisyEncoding(
            GaussianPosterior(q.mean[:, frames], q.log_variance[:, frames]),
            self.log_noise[:, frames],
            deviation,
            noise_std=None if self.noise_std is None else self.noise_std[:, frames],
        )

    def followed_by(self, other: NoisyEncoding) -> NoisyEncoding:
        """This encoding and that of the next frames, without the spread."""

        def joined(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return torch.cat([first, second], 1)

        def both(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
            return None if first is None or second is None else joined(first, second)

        q, next_q = self.posterior, other.posterior
        return NoisyEncoding(
            GaussianPosterior(joined(q.mean, next_q.mean), joined(q.log_variance, next_q.log_variance)),
            joined(self.log_noise, other.log_noise),
            both(self.log_deviation, other.log_deviation),
            noise_std=both(self.noise_std, other.noise_std),
        )


def deviation_of(encoding: NoisyEncoding) -> torch.Tensor:
    """What the network adds to the decoder's log-variance, (B, N, F); zeros where it has no such output."""
    if encoding.log_deviation is None:
        return torch.zeros_like(encoding.log_noise)
    return encoding.log_deviation


def wiener_at(prior: LatentPrior, encoding: NoisyEncoding, z: torch.Tensor) -> torch.Tensor:
    """Gain v / (v + n) (B, N, F), with the speech variance v at the latents ``z`` (B, N, L), deviation
    included, and the network's noise variance n."""
    log_speech = prior.decode(z.unsqueeze(1))[:, 0] + deviation_of(encoding)
    return torch.sigmoid(log_speech - encoding.log_noise)


def check_sizes(**sizes: int) -> None:
    """Raise UsageError for a size of a noisy encoder that is not a whole number above 0."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"{name} = {value!r} of a noisy encoder", "it is a whole number above 0")


def recording_mean(log_power: torch.Tensor, mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """Mean log-power of each bin over the valid frames, (B, 1, F); the running mean, (B, N, F), if ``causal``.

    ``log_power`` (B, N, F) is 0 where ``mask`` (B, N) is.
    """
    if causal:
        return log_power.cumsum(1) / mask.cumsum(1).clamp(min=1).unsqueeze(-1)
    return log_power.sum(1, keepdim=True) / mask.sum(1)[:, None, None]


class NoisyEncoder(nn.Module):
    """Recurrent network from the power of a noisy recording to q(z_n | x_1..N) and the noise variance.

    The input is power (B, N, F) at the level that the prior expects of speech. q is a diagonal Gaussian per
    frame; the noise variance is per frame and bin. The input of the two recurrent layers is the log-power of
    the frame and the mean log-power of each bin over the recording (``causal``: up to the frame). The noise
    head predicts the difference of the noise's log-variance from that mean.

    ``bins``: F; ``latent_dim``: L; ``width``: units of the projection; ``hidden_size``: units per direction
    of the recurrent layers; ``causal``: the output of frame n depends on frames 1..n only.

    Such a network is trained on simulations of the model: Gershman and Goodman, Amortized inference in
    probabilistic reasoning, 2014; Le, Baydin and Wood, Inference compilation and universal probabilistic
    programming, 2017.
    """

    log_power_mean: torch.Tensor
    log_power_std: torch.Tensor
    noise_aware: ClassVar[bool] = False

    def __init__(
        self, bins: int, latent_dim: int, width: int = 256, hidden_size: int = 128, causal: bool = False
    ) -> None:
        super().__init__()
        check_sizes(bins=bins, latent_dim=latent_dim, width=width, hidden_size=hidden_size)
        self.bins, self.latent_dim, self.causal = bins, latent_dim, causal
        self.width, self.hidden_size = width, hidden_size
        directions = 1 if causal else 2
        self.project = nn.Linear(bins, width)
        self.project_mean = nn.Linear(bins, width, bias=False)
        self.first = nn.GRU(width, hidden_size, batch_first=True, bidirectional=not causal)
        self.second = nn.GRU(hidden_size * directions, hidden_size, batch_first=True, bidirectional=not causal)
        joined = width + hidden_size * directions
        self.speech = nn.Sequential(nn.Linear(joined, width), nn.SiLU(), nn.Linear(width, 2 * latent_dim))
        self.noise = nn.Sequential(nn.Linear(joined, width), nn.SiLU(), nn.Linear(width, bins))
        with torch.no_grad():  # start near the prior and near the mean spectrum
            for last in (self.speech[-1], self.noise[-1]):
                typing.cast(nn.Linear, last).weight.mul_(0.1)
        self.register_buffer("log_power_mean", torch.zeros(bins))
        self.register_buffer("log_power_std", torch.ones(bins))

    @property
    def memory(self) -> int:
        """Deprecated name of ``hidden_size``."""
        warn("the attribute memory of a noisy encoder", "hidden_size")
        return self.hidden_size

    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Set mean and standard deviation (F,) of the log-power, by which the input is standardised."""
        self.log_power_mean.copy_(mean)
        self.log_power_std.copy_(std)

    def forward(
        self, power: torch.Tensor, mask: torch.Tensor, *, given: LogVariances | None = None
    ) -> NoisyEncoding:
        """Encode noisy ``power`` (B, N, F); ``mask`` (B, N) is 1 where a frame exists.

        The result for a recording does not depend on its padding. ``given`` has no influence: this network is
        not noise-aware.
        """
        log_power = (torch.log(power + POWER_FLOOR) - self.log_power_mean) / self.log_power_std
        log_power = log_power * mask.unsqueeze(-1)
        mean = recording_mean(log_power, mask, self.causal)
        hidden = nn.functional.silu(self.project(log_power) + self.project_mean(mean))
        lengths = mask.sum(-1).long().cpu()
        context = self._recur(self.second, self._recur(self.first, hidden, lengths), lengths)
        return self.read_out(torch.cat([hidden, context], -1), mean)

    def read_out(self, joined: torch.Tensor, mean: torch.Tensor) -> NoisyEncoding:
        """The encoding from the last hidden units (B, N, width + hidden units of the second layer) and the mean
        log-power."""
        latent_mean, log_variance = self.speech(joined).chunk(2, -1)
        log_noise = self.log_power_mean + self.log_power_std * (mean + self.noise(joined))
        return NoisyEncoding(
            GaussianPosterior(latent_mean, log_variance.clamp(*_LATENT_RANGE)),
            log_noise.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX),
        )

    def _recur(self, layer: nn.GRU, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if bool((lengths == sequence.shape[1]).all()):
            whole: torch.Tensor = layer(sequence)[0]
            return whole
        packed = nn.utils.rnn.pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
        out, _ = layer(packed)
        total = sequence.shape[1]
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=total)[0]

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor, JSON-able."""
        return {
            "bins": self.bins,
            "latent_dim": self.latent_dim,
            "width": self.width,
            "hidden_size": self.hidden_size,
            "causal": self.causal,
        }
