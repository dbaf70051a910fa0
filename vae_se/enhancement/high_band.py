"""What a recording has above the prior's band: the samples, and their speech, segment by segment."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..high_band.bands import LOWEST, low_band_power, triangles
from ..high_band.decoder import HighBandDecoder
from ..high_band.em import HighBandEM
from ..high_band.frames import AlignedSTFT
from .sample_buffer import SampleBuffer


@dataclasses.dataclass(frozen=True)
class HighSamples:
    """One channel at the recording's rate, less its low band: ``samples`` (T,).

    The low band is the recording at the prior's rate, resampled back. The two parts sum to the recording.
    """

    samples: SampleBuffer
    stft: AlignedSTFT

    def spectra(self, start: int, stop: int, scale: float) -> torch.Tensor:
        """Frames ``start`` to ``stop`` at the prior's level, complex (stop - start, F), on the CPU."""
        first, last = self.stft.span(start, stop)
        noisy = self.samples.read(max(0, first), max(0, last))
        scaled = np.divide(noisy, scale, dtype=np.float64).astype(np.float32)
        before = max(0, -first)
        return self.stft.transform(np.pad(scaled, (before, last - first - before - scaled.size)), start, stop)

    def contribution(self, start: int, stop: int, spectra: torch.Tensor) -> tuple[int, np.ndarray]:
        """Position of the first sample, and what these frames contribute to the samples."""
        first, last = self.stft.span(start, stop)
        samples = self.stft.contribution(spectra, start, stop)
        return max(0, first), samples[max(0, -first) : min(last, self.samples.size) - first]


@dataclasses.dataclass(frozen=True)
class HighBandFilter:
    """Estimates the speech above the prior's band from what EM found in the low band."""

    decoder: HighBandDecoder
    em: HighBandEM = dataclasses.field(default_factory=HighBandEM)

    def log_variance(self, speech_power: torch.Tensor) -> torch.Tensor:
        """The decoder's log-variance (N, B), given E[|s|^2 | x] (N, F) in the low band."""
        eta: torch.Tensor = self.decoder(low_band_power(speech_power))
        return eta

    @torch.no_grad()
    def filtered(
        self,
        high: HighSamples,
        scale: float,
        frames: slice,
        weight: torch.Tensor,
        speech_power: torch.Tensor,
        activations: torch.Tensor | None,
    ) -> tuple[int, np.ndarray]:
        """Filter ``frames`` of ``high``, whose level is ``scale`` times the prior's.

        ``weight`` (N,): of the frames in a cross-fade; ``speech_power`` (N, F): E[|s|^2 | x] in the low band;
        ``activations`` (N, K): of the noise there, or None. Returns the position of the first sample, and the
        samples that these frames contribute to the speech.
        """
        spectra = high.spectra(frames.start, frames.stop, scale)
        frequencies = high.stft.frequencies
        lowest = int(np.searchsorted(frequencies, LOWEST))
        inner = spectra[:, lowest:].to(speech_power.device)
        power = inner.real.square() + inner.imag.square()
        wiener = self.em.filter(
            power,
            self.log_variance(speech_power),
            triangles(frequencies[lowest:]).to(power.device),
            activations,
        )
        filtered = torch.zeros_like(spectra)
        filtered[:, lowest:] = (scale * weight.unsqueeze(-1) * wiener * inner).to(spectra.device)
        return high.contribution(frames.start, frames.stop, filtered)
