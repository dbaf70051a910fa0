"""What a stream has above the prior's band: split off, enhanced block by block, added to the low band."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..audio.resample import Resampler
from ..audio.running import RunningLevel
from ..config import OutputConfig
from ..high_band.bands import LOWEST, triangles
from ..high_band.frames import AlignedSTFT
from ..high_band.running_em import RunningHighBandEM
from ..signal_spec import SignalSpec
from .high_band import HighBandFilter, HighSamples
from .residual_noise import RunningResidual
from .sample_buffer import MemoryBuffer


class LowBandSpeech(NamedTuple):
    """What EM has found in the low band of a block of N frames, at the prior's level.

    ``scale``: how many times louder the stream is; ``bands`` (M, LOW_BANDS): speech power in the frames from
    ``before`` frames before the block on, at least to its end; ``activations`` (N, K): of noise spectra that
    carry on from block to block, K may be 0.
    """

    scale: float
    bands: torch.Tensor
    before: int
    activations: torch.Tensor


class LowBandListener(Protocol):
    """Hears about every block of frames of the low band, in order."""

    def block(self, frames: slice, found: LowBandSpeech | None) -> None:
        """``frames`` of the stream; ``found``: None where the stream has been silent until now."""


class HighBandChannel:
    """One channel above the prior's band, at the stream's rate.

    Blocks of frames are those of the low band. They wait until their samples have come, which the second
    resampling delays. ``stft``: at the stream's rate.
    """

    def __init__(
        self, filtering: HighBandFilter, stft: AlignedSTFT, output: OutputConfig, device: torch.device
    ) -> None:
        self._decoder, self._device = filtering.decoder, device
        self._stft, signal = stft, stft.signal
        frequencies = self._stft.frequencies
        self._lowest = int(np.searchsorted(frequencies, LOWEST))
        self._em = RunningHighBandEM(filtering.em, triangles(frequencies[self._lowest :]).to(device))
        self._noisy, self._speech = MemoryBuffer(np.float32), MemoryBuffer(np.float32)
        self._high = HighSamples(self._noisy, self._stft)
        self._waiting: deque[tuple[slice, LowBandSpeech | None]] = deque()
        self._scale: float | None = None
        self._returned = self._complete = 0
        self._residual = RunningResidual(output, signal)
        self._level = RunningLevel(round(signal.rate / signal.hop))

    def block(self, frames: slice, found: LowBandSpeech | None) -> None:
        """The next block of frames, and what EM has found in their low band."""
        self._waiting.append((frames, found))

    def push(self, samples: np.ndarray) -> None:
        """The next samples (T,) above the prior's band."""
        self._noisy.append(samples)

    def take(self) -> np.ndarray:
        """The samples of the speech that are complete."""
        while self._waiting and self._noisy.size >= self._end(self._waiting[0][0]):
            self._next(*self._waiting.popleft())
        samples = self._speech.read(self._returned, self._complete)
        self._returned = self._complete
        self._speech.discard(self._returned)
        return samples

    def finish(self) -> np.ndarray:
        """All that remains; zeros may follow the end of the stream."""
        if self._waiting:
            missing = self._end(self._waiting[-1][0]) - self._noisy.size
            self._noisy.append(np.zeros(max(0, missing), np.float32))
        return np.concatenate([self.take(), self._speech.read(self._returned, self._speech.size)])

    def _end(self, frames: slice) -> int:
        """The sample after the last one of ``frames``."""
        return self._stft.span(frames.start, frames.stop)[1]

    def _next(self, frames: slice, found: LowBandSpeech | None) -> None:
        """Enhance ``frames`` and add them to the speech."""
        scale = 1.0 if found is None else found.scale
        spectra = scale * self._high.spectra(frames.start, frames.stop, scale)
        if found is not None:
            spectra = self._filtered(spectra, found)
        start, samples = self._high.contribution(frames.start, frames.stop, spectra)
        # What the synthesis does not use of the first frame is 0, and may be returned already.
        samples, start = samples[max(0, self._complete - start) :], max(start, self._complete)
        overlap = self._speech.size - start
        self._speech.add(start, samples[:overlap])
        self._speech.append(samples[overlap:])
        following = int(self._stft.starts(frames.stop, frames.stop + 1)[0])
        self._complete = max(0, following + self._stft.unused)
        self._noisy.discard(max(0, following))

    @torch.no_grad()
    def _filtered(self, spectra: torch.Tensor, found: LowBandSpeech) -> torch.Tensor:
        """Spectra (N, F) of the speech and of the residual noise."""
        inner = spectra[:, self._lowest :].to(self._device)
        power = (inner.real.square() + inner.imag.square()) / found.scale**2
        eta = self._decoder(found.bands)[found.before : found.before + len(power)]
        before = found.scale if self._scale is None else self._scale
        wiener = self._em.filter(power, eta, found.activations, (before / found.scale) ** 2)
        self._scale = found.scale
        speech = (wiener * inner).abs().square().mean(-1).sqrt()
        self._level.push(speech.cpu().numpy())
        kept = self._residual.applied(wiener, inner, self._level.active_rms()).to(spectra.device)
        # What little the windows leave below the lowest bin goes with it.
        return torch.cat([kept[:, :1].expand(-1, self._lowest), kept], 1) * spectra


@dataclasses.dataclass
class HighBandStream:
    """The part of a stream at ``rate`` Hz above the prior's band, of all its channels.

    It is the stream less its low band, which is the stream at the prior's rate, resampled back: the two sum to
    the stream. Resampling delays it as much as it delays the low band's speech.
    """

    channels: list[HighBandChannel]
    signal: SignalSpec
    rate: int

    def __post_init__(self) -> None:
        count = len(self.channels)
        self._back = Resampler(self.signal.rate, self.rate, count, np.float32)
        empty = np.zeros((count, 0), np.float32)
        self._noisy = self._low = self._speech = self._found = empty

    def push(self, noisy: np.ndarray, low: np.ndarray) -> None:
        """The next samples (C, T), and those at the prior's rate that came of them."""
        self._split(noisy, self._back.push(low))

    def finish(self, low: np.ndarray) -> None:
        """The end of the stream: the last samples (C, T) at the prior's rate."""
        self._split(self._noisy[:, :0], np.concatenate([self._back.push(low), self._back.finish()], 1))
        missing = self._noisy.shape[1] - self._low.shape[1]
        self._split(self._noisy[:, :0], np.zeros((len(self.channels), max(0, missing)), np.float32))

    def _split(self, noisy: np.ndarray, low: np.ndarray) -> None:
        self._noisy, self._low = (np.concatenate(pair, 1) for pair in ((self._noisy, noisy), (self._low, low)))
        ready = min(self._noisy.shape[1], self._low.shape[1])
        # In double precision, as for a file.
        rest = np.subtract(self._noisy[:, :ready], self._low[:, :ready], dtype=np.float64)
        for channel, row in zip(self.channels, rest.astype(np.float32), strict=True):
            channel.push(row)
        self._noisy, self._low = self._noisy[:, ready:], self._low[:, ready:]

    def added(self, speech: np.ndarray, last: bool) -> np.ndarray:
        """The low band's next speech (C, T) with that above it, as far as both are complete."""
        found = [channel.finish() if last else channel.take() for channel in self.channels]
        self._found = np.concatenate([self._found, np.stack(found)], 1)
        self._speech = np.concatenate([self._speech, speech], 1)
        if last:
            missing = max(0, self._speech.shape[1] - self._found.shape[1])
            self._found = np.pad(self._found, [(0, 0), (0, missing)])
        ready = min(self._found.shape[1], self._speech.shape[1])
        out = self._speech[:, :ready] + self._found[:, :ready]
        self._found, self._speech = self._found[:, ready:], self._speech[:, ready:]
        return out
