"""One channel on its way through EM: parts of its spectrogram out, enhanced parts back in."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..inference.averaging import Estimate
from ..inference.diagnostics import Diagnostics
from ..stft import STFT
from .sample_buffer import SampleBuffer
from .segments import Segment


@dataclasses.dataclass
class ChannelInfo:
    """Posterior of one channel, on the CPU: filter ``wiener``, ``uncertainty`` (standard deviation) and
    ``noise_variance``, all (N, F), and ``gain`` (N,); ``factors`` of the noise, one for every piece that the
    recording was cut into, where its model is a factorisation. All but wiener and gain are on the input's
    scale."""

    wiener: torch.Tensor
    uncertainty: torch.Tensor
    noise_variance: torch.Tensor
    gain: torch.Tensor
    factors: list[Factors] = dataclasses.field(default_factory=list)

    @classmethod
    def zeros(cls, frames: int, bins: int) -> ChannelInfo:
        """An empty one, to add chunks to."""
        wiener, uncertainty, noise = (torch.zeros(frames, bins, device="cpu") for _ in range(3))
        return cls(wiener, uncertainty, noise, torch.zeros(frames, device="cpu"))


@dataclasses.dataclass
class Factors:
    """Noise spectra ``w`` (K, F), each of mean 1, and activations ``h`` (N, K) from frame ``start`` on."""

    start: int
    w: torch.Tensor
    h: torch.Tensor


class Channel:
    """Samples at the prior's rate that are ``scale`` times as loud as the prior's speech.

    Holds no spectrogram: an hour of one is gigabytes. ``speech``, as long as the samples and on their scale, is
    whole when every chunk was added; so is ``posterior``, which is kept where ``keep`` asks for it.
    """

    def __init__(
        self,
        samples: SampleBuffer,
        speech: SampleBuffer,
        scale: float,
        stft: STFT,
        device: torch.device,
        keep: bool = False,
    ) -> None:
        self.samples, self.speech = samples, speech
        self.scale, self.stft, self.device = scale, stft, device
        self.frames = stft.frames(samples.size)
        self.posterior = ChannelInfo.zeros(self.frames, stft.bins) if keep else None
        self.diagnostics: list[Diagnostics] = []

    def spectrum(self, start: int, stop: int) -> torch.Tensor:
        """Frames ``start`` to ``stop`` of the complex spectrogram, (stop - start, F), at the prior's level."""
        first, last = self.stft.span(start, stop)
        # Divided in double precision, so that the same sound gives the same result in either.
        seen = self.samples.read(max(0, first), last)
        part = np.divide(seen, self.scale, dtype=np.float64).astype(np.float32)
        before = max(0, -first)
        after = last - first - before - part.size
        samples = torch.nn.functional.pad(torch.from_numpy(part).to(self.device), (before, after))
        return self.stft.transform(samples)

    def power(self, start: int, stop: int) -> torch.Tensor:
        """|x|^2 of the same frames."""
        spectrum = self.spectrum(start, stop)
        return spectrum.real.square() + spectrum.imag.square()

    def add(self, chunk: Segment, weight: torch.Tensor, estimate: Estimate, row: int) -> None:
        """Add row ``row`` of an estimate, the frames of ``chunk``, cross-faded by ``weight`` (frames,)."""
        here, column = slice(0, chunk.frames), weight.unsqueeze(-1)
        wiener = column * estimate.wiener[row, here]
        spectrum = self.spectrum(chunk.start, chunk.stop)
        first, last = self.stft.span(chunk.start, chunk.stop)
        found = self.stft.contribution(self.scale * wiener * spectrum).cpu().numpy()
        self.speech.add(max(0, first), found[max(0, -first) : min(last, self.speech.size) - first])
        if self.posterior is not None:
            into, span = self.posterior, slice(chunk.start, chunk.stop)
            into.wiener[span] += wiener.cpu()
            into.uncertainty[span] += (column * self.scale * estimate.variance[row, here].sqrt()).cpu()
            into.noise_variance[span] += (column * self.scale**2 * estimate.noise[row, here]).cpu()
            into.gain[span] += (weight * estimate.state.gain[row, here]).cpu()
            state = estimate.state.noise
            if hasattr(state, "w"):
                h = self.scale**2 * state.h[row, here]
                into.factors.append(Factors(chunk.start, state.w[row].cpu(), h.cpu()))
