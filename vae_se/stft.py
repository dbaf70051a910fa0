"""Short-time Fourier transform: analysis and the matching synthesis.

The analysis window has unit energy: white noise of variance s gives E|X|^2 = s in every bin, so power spectra
are in units of the waveform's mean square, for any window length. Spectrograms are (frames, bins); only this
module transposes them.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from .errors import UsageError


@dataclasses.dataclass(frozen=True)
class STFT:
    """Short-time Fourier transform with a sine window and least-squares synthesis.

    The waveform is padded with ``window - hop`` zeros in front and with as many as needed behind, so that every
    sample lies in ``window / hop`` frames; waveforms of any length from one sample are reconstructed exactly.
    Synthesis divides by the sum of the squared windows (Griffin and Lim, Signal estimation from modified
    short-time Fourier transform, 1984), which makes it the pseudo-inverse of the analysis.

    ``window`` and ``hop`` in samples; ``hop`` divides ``window`` at least twice. Raises UsageError otherwise.
    """

    window: int = 1024
    hop: int = 256

    def __post_init__(self) -> None:
        if self.hop < 1 or self.window < 2 * self.hop or self.window % self.hop:
            raise UsageError(
                f"STFT window {self.window} and hop {self.hop}",
                "the hop must divide the window, at least twice",
            )

    @property
    def bins(self) -> int:
        """F, the number of frequency bins."""
        return self.window // 2 + 1

    def frames(self, samples: int) -> int:
        """N, the number of frames of a waveform of ``samples`` samples."""
        return math.ceil((samples + self.window - self.hop) / self.hop)

    def taper(self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> torch.Tensor:
        """The sine window, scaled to unit energy, shape (window,)."""
        n = torch.arange(self.window, dtype=torch.float64, device=device)
        window = torch.sin(math.pi * (n + 0.5) / self.window) * math.sqrt(2 / self.window)
        return window.to(dtype)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """First and last sample (exclusive) of frames ``start`` to ``stop``; below 0 in the first frames of a
        waveform, and beyond its end in the last ones."""
        front = self.window - self.hop
        return start * self.hop - front, (stop - 1) * self.hop + self.window - front

    def transform(self, samples: torch.Tensor) -> torch.Tensor:
        """Complex spectra (..., N, F) of the frames that lie completely in ``samples`` (..., T)."""
        frames = samples.unfold(-1, self.window, self.hop)
        return torch.fft.rfft(frames * self.taper(samples.dtype, samples.device))

    def analyse(self, waveform: torch.Tensor) -> torch.Tensor:
        """Complex spectrogram (..., N, F) of a waveform (..., T), T at least 1."""
        samples = waveform.shape[-1]
        if samples < 1:
            raise UsageError("an empty waveform has no STFT", "pass at least one sample")
        first, last = self.span(0, self.frames(samples))
        return self.transform(torch.nn.functional.pad(waveform, (-first, last - samples)))

    def synthesise(self, spectrogram: torch.Tensor, samples: int) -> torch.Tensor:
        """Waveform (..., T), T = ``samples``, of a complex spectrogram (..., N, F).

        Raises UsageError where N or F does not belong to ``samples``.
        """
        expected = (self.frames(samples), self.bins)
        if spectrogram.shape[-2:] != expected:
            raise UsageError(
                f"a spectrogram of {tuple(spectrogram.shape[-2:])} frames and bins for {samples} samples",
                f"expected {expected}",
            )
        dtype, device = spectrogram.real.dtype, spectrogram.device
        out = torch.zeros(*spectrogram.shape[:-2], samples, dtype=dtype, device=device)
        self.overlap_add(spectrogram, 0, out)
        return out

    def overlap_add(self, spectrogram: torch.Tensor, start: int, into: torch.Tensor) -> None:
        """Add the contribution of frames (..., N, F), the first of which is ``start``, to ``into`` (..., T)."""
        first, last = self.span(start, start + spectrogram.shape[-2])
        end = min(last, into.shape[-1])
        into[..., max(0, first) : end] += self.contribution(spectrogram)[..., max(0, -first) : end - first]

    def contribution(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Contribution of frames (..., N, F) to the samples that they cover (:meth:`span`).

        Synthesis is linear: the waveform is the sum of the contributions of its frames.
        """
        taper = self.taper(spectrogram.real.dtype, spectrogram.device)
        frames = torch.fft.irfft(spectrogram, n=self.window) * taper
        n_frames, parts = frames.shape[-2], self.window // self.hop
        hops = frames.unflatten(-1, (parts, self.hop))
        summed = frames.new_zeros(*frames.shape[:-2], n_frames + parts - 1, self.hop)
        for part in range(parts):
            summed[..., part : part + n_frames, :] += hops[..., part, :]
        # Every sample of the waveform lies in window/hop frames, so the sum of squares is periodic in hop.
        weight = taper.square().reshape(-1, self.hop).sum(0)
        return (summed / weight).flatten(-2)
