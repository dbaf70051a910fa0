"""The signal convention that is stored with a prior's weights: sample rate, STFT and level."""

from __future__ import annotations

import dataclasses

from .stft import STFT


@dataclasses.dataclass(frozen=True)
class SignalSpec:
    """Sample rate, STFT and level of the speech that a prior models.

    ``rate`` in Hz; ``window`` and ``hop`` of the STFT in samples; ``active_rms``: active RMS (ITU-T P.56).

    >>> SignalSpec(8000, 256, 64).stft.bins
    129
    """

    rate: int = 16000
    window: int = 1024
    hop: int = 256
    active_rms: float = 1.0

    @property
    def stft(self) -> STFT:
        """The STFT of the prior's spectra."""
        return STFT(self.window, self.hop)
