"""The convention that travels with a prior's weights: sample rate, STFT and level."""

from __future__ import annotations

import dataclasses

from .stft import STFT


@dataclasses.dataclass(frozen=True)
class SignalSpec:
    """What the prior was trained on: rate in Hz, STFT, and the active RMS (ITU-T P.56) of its speech."""

    rate: int = 16000
    window: int = 1024
    hop: int = 256
    active_rms: float = 1.0

    @property
    def stft(self) -> STFT:
        """The analysis that the prior's spectra come from."""
        return STFT(self.window, self.hop)
