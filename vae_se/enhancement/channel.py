"""One channel at the prior's level: spectra of the samples, and samples of the filtered spectra."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..numerics import SILENCE_RMS
from ..signal_spec import SignalSpec
from ..stft import STFT
from .high_band import HighSamples
from .sample_buffer import SampleBuffer


def level_scale(level: float, signal: SignalSpec) -> float | None:
    """How many times louder a channel of active RMS ``level`` is than the prior's speech; None for silence."""
    return None if level < SILENCE_RMS else level / signal.active_rms


def power_of(spectrum: torch.Tensor) -> torch.Tensor:
    """Power |x|^2 of a complex spectrogram."""
    return spectrum.real.square() + spectrum.imag.square()


@dataclasses.dataclass(frozen=True)
class Channel:
    """Samples at the prior's rate that are ``scale`` times louder than the prior's speech.

    ``high``: what the recording has above the prior's band, where that is enhanced too.
    Spectra are computed on demand: the spectrogram of an hour takes gigabytes.
    """

    samples: SampleBuffer
    scale: float
    stft: STFT
    device: torch.device
    high: HighSamples | None = None

    @property
    def frames(self) -> int:
        """N, the number of frames."""
        return self.stft.frames(self.samples.size)

    def spectrum(self, start: int, stop: int) -> torch.Tensor:
        """Frames ``start`` to ``stop`` of the complex spectrogram at the prior's level, (stop - start, F)."""
        first, last = self.stft.span(start, stop)
        noisy = self.samples.read(max(0, first), last)
        # Divide in double precision, so that the same sound gives the same result in single and double.
        scaled = np.divide(noisy, self.scale, dtype=np.float64).astype(np.float32)
        before = max(0, -first)
        after = last - first - before - scaled.size
        padded = torch.nn.functional.pad(torch.from_numpy(scaled).to(self.device), (before, after))
        return self.stft.transform(padded)

    def power(self, start: int, stop: int) -> torch.Tensor:
        """Power |x|^2 of the same frames."""
        return power_of(self.spectrum(start, stop))

    def filtered(self, start: int, stop: int, wiener: torch.Tensor) -> tuple[int, np.ndarray]:
        """Filter frames ``start`` to ``stop`` by ``wiener`` (stop - start, F) and synthesise them.

        Returns the position of the first sample, and the samples that these frames contribute to the speech, on
        the channel's scale. The speech is the sum of the contributions of all frames.
        """
        first, last = self.stft.span(start, stop)
        samples = self.stft.contribution(self.scale * wiener * self.spectrum(start, stop)).cpu().numpy()
        return max(0, first), samples[max(0, -first) : min(last, self.samples.size) - first]
