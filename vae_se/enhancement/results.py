"""Results of an enhancement: the posterior of each channel, and a summary of the recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..deprecated import warn
from ..inference.diagnostics import Diagnostics, summarise


@dataclasses.dataclass(repr=False)
class Factors:
    """Factorisation of the noise variance in one segment: spectra ``w`` (K, F), each of mean 1, and activations
    ``h`` (N, K) on the input's scale. The segment starts at frame ``start``."""

    start: int
    w: torch.Tensor
    h: torch.Tensor

    def __repr__(self) -> str:
        return f"<Factors: {len(self.w)} spectra, {len(self.h)} frames from frame {self.start}>"


@dataclasses.dataclass(repr=False)
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

    def __repr__(self) -> str:
        frames, bins = self.wiener.shape
        return f"<ChannelInfo: {frames} frames, {bins} bins, {len(self.factors)} noise factorisations>"

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


@dataclasses.dataclass(repr=False)
class Info:
    """Summary of the enhancement of a recording with C channels.

    ``noise``: the estimated noise in the input's type, shape and rate; None for a file that was enhanced in
    parts. It is the input minus the estimated speech. The output is the estimated speech plus the part of this
    noise that the settings of ``output`` keep (``floor_db``, ``atten_lim_db``, ``dry``), so input minus output
    is ``noise`` only where they keep none: ``output.floor_db=inf``, and the other two at their defaults. A
    baseline has no ``floor_db``. ``channels``: the posterior of each channel that is not silent; empty unless
    it was requested. ``speech_presence``: probability that a frame holds speech, (N,) for each of these
    channels, and 0 where the speech is faint; empty unless it was requested
    (:func:`~vae_se.enhancement.activity.speech_segments` makes segments of it). ``objective`` (nats per frame
    and iteration), ``acceptance``, ``ess``, ``rhat`` and ``warnings``: see :mod:`vae_se.inference.diagnostics`.
    ``seconds``: computing time.
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
    speech_presence: list[torch.Tensor] = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        shape = "no noise" if self.noise is None else f"noise {tuple(np.shape(self.noise))}"
        objective = f", objective {self.objective[-1]:.4g}" if self.objective else ""
        warned = f", warnings {self.warnings}" if self.warnings else ""
        return (
            f"<Info: {shape}, {len(self.channels)} posteriors, {self.iterations} iterations{objective}, "
            f"{self.seconds:.2f} s{warned}>"
        )

    @classmethod
    def summary(
        cls,
        noise: Any,
        seconds: float,
        diagnostics: Sequence[Diagnostics],
        warnings: Sequence[str],
        channels: Sequence[ChannelInfo] = (),
        speech_presence: Sequence[torch.Tensor] = (),
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
            speech_presence=list(speech_presence),
        )

    @property
    def gain(self) -> list[torch.Tensor]:
        """Gain of the speech, (N,) per channel."""
        return [channel.gain for channel in self.channels]

    @property
    def uncertainty(self) -> list[torch.Tensor]:
        """Posterior standard deviation of the speech on the input's scale, (N, F) per channel."""
        return [channel.uncertainty for channel in self.channels]
