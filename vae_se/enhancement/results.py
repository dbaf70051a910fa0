"""Results of an enhancement: the posterior of each channel, and a summary of the recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from ..deprecated import warn
from ..inference.diagnostics import Diagnostics, summarise


@dataclasses.dataclass
class Factors:
    """Factorisation of the noise variance in one segment: spectra ``w`` (K, F), each of mean 1, and activations
    ``h`` (N, K) on the input's scale. The segment starts at frame ``start``."""

    start: int
    w: torch.Tensor
    h: torch.Tensor


@dataclasses.dataclass
class ChannelInfo:
    """Posterior of one channel at the prior's rate and STFT, on the CPU.

    ``wiener`` (N, F): the filter, E[s | x] = wiener * x. ``uncertainty`` (N, F): posterior standard deviation
    of the speech. ``noise_variance`` (N, F). ``gain`` (N,): gain of the speech at the prior's level.
    ``factors``: of the noise, one entry a segment; empty where the noise model has no factorisation.
    ``uncertainty``, ``noise_variance`` and ``factors`` are on the input's scale.
    """

    wiener: torch.Tensor
    uncertainty: torch.Tensor
    noise_variance: torch.Tensor
    gain: torch.Tensor
    factors: list[Factors] = dataclasses.field(default_factory=list)

    @classmethod
    def zeros(cls, frames: int, bins: int) -> ChannelInfo:
        """All zero, N = ``frames`` and F = ``bins``."""
        wiener, uncertainty, noise = (torch.zeros(frames, bins, device="cpu") for _ in range(3))
        return cls(wiener, uncertainty, noise, torch.zeros(frames, device="cpu"))

    @property
    def mask(self) -> torch.Tensor:
        """Deprecated name of ``wiener``."""
        warn("ChannelInfo.mask", "ChannelInfo.wiener")
        return self.wiener


@dataclasses.dataclass
class Info:
    """Summary of the enhancement of a recording with C channels.

    ``noise``: the estimated noise (input minus speech) in the input's type, shape and rate; None for a file
    that was enhanced in parts. ``channels``: the posterior of each channel that is not silent; empty unless it
    was requested. ``objective`` (nats per frame and iteration), ``acceptance``, ``ess``, ``rhat`` and
    ``warnings``: see :mod:`vae_se.inference.diagnostics`. ``seconds``: computing time.
    """

    noise: Any
    channels: list[ChannelInfo]
    objective: list[float]
    acceptance: float | None
    ess: float | None
    rhat: float | None
    iterations: int
    seconds: float
    warnings: list[str]

    @classmethod
    def summary(
        cls,
        noise: Any,
        seconds: float,
        diagnostics: Sequence[Diagnostics],
        warnings: Sequence[str],
        channels: Sequence[ChannelInfo] = (),
    ) -> Info:
        """Summarise the diagnostics of all segments and channels; ``warnings`` come before theirs."""
        total = summarise(diagnostics)
        return cls(
            noise=noise,
            channels=list(channels),
            objective=total.objective,
            acceptance=total.acceptance,
            ess=total.ess,
            rhat=total.rhat,
            iterations=len(total.objective),
            seconds=seconds,
            warnings=[*warnings, *total.warnings],
        )

    @property
    def gain(self) -> list[torch.Tensor]:
        """Gain of the speech, (N,) per channel."""
        return [channel.gain for channel in self.channels]

    @property
    def uncertainty(self) -> list[torch.Tensor]:
        """Posterior standard deviation of the speech on the input's scale, (N, F) per channel."""
        return [channel.uncertainty for channel in self.channels]
