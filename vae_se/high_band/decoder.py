"""The speech variance in the high bands, decoded from the low band's speech in a frame and its neighbours."""

from __future__ import annotations

import torch
from torch import nn

from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN, POWER_FLOOR
from ..signal_spec import SignalSpec
from .bands import HIGH_BANDS, LOW_BANDS

#: Floor of the powers that the decoder reads: -60 dB relative to the active level, well below speech.
INPUT_FLOOR = 1e-6


class HighBandDecoder(nn.Module):
    """eta(y_(n-C), ..., y_(n+C)): log-variance of the speech in the high bands, at the prior's level.

    y_n is the logarithm of the low band's speech power E[|s|^2 | x] in frame n and in bands
    (:func:`~vae_se.high_band.bands.low_band_power`). In the recording this is a function of the latents and of
    the gain, so p(s_high | z) depends on z through the spectrum that z means in the low band. Two hidden layers
    see ``context`` frames on each side.

    ``signal``: rate, STFT and level of the low band, by default those of the shipped priors.
    """

    def __init__(self, context: int = 3, hidden: int = 128, signal: SignalSpec | None = None) -> None:
        super().__init__()
        self.context, self.hidden, self.signal = context, hidden, signal or SignalSpec()
        width = LOW_BANDS * (2 * context + 1)
        self.net = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, HIGH_BANDS),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(LOW_BANDS))
        self.register_buffer("deviation", torch.ones(LOW_BANDS))

    def config(self) -> dict[str, int]:
        """Keywords of the constructor without ``signal``."""
        return {"context": self.context, "hidden": self.hidden}

    def standardised(self, low: torch.Tensor) -> torch.Tensor:
        """The logarithm of the powers ``low`` (N, LOW_BANDS), with mean 0 and variance 1 in clean speech."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        return ((low + INPUT_FLOOR).log() - mean) / deviation

    def in_context(self, inputs: torch.Tensor) -> torch.Tensor:
        """Every frame of ``inputs`` (N, D) with its neighbours, (N, (2 C + 1) D); the outer frames repeat."""
        padded = torch.cat([inputs[:1].expand(self.context, -1), inputs, inputs[-1:].expand(self.context, -1)])
        return torch.cat([padded[k : k + len(inputs)] for k in range(2 * self.context + 1)], -1)

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        """Log-variance (N, HIGH_BANDS) of low-band powers (N, LOW_BANDS), both at the prior's level."""
        eta: torch.Tensor = self.net(self.in_context(self.standardised(low)))
        return eta.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)


def nll(power: torch.Tensor, log_variance: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over frames and bands of eta + (|s|^2 + floor) exp(-eta), -log N_c less log(pi), in nats.

    ``power`` and ``log_variance`` (N, HIGH_BANDS); ``mask`` (N, HIGH_BANDS): 1 where the recording has the
    band.
    """
    value = log_variance + (power + POWER_FLOOR * 0.01) * torch.exp(-log_variance)
    return (value * mask).sum() / mask.sum()
