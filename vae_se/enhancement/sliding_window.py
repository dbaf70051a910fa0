"""One channel of a stream at the prior's rate: samples in, speech out some frames later."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ..audio.running import RunningLevel
from ..config import OutputConfig
from ..high_band.bands import low_band_power
from ..inference.averaging import Estimate
from ..inference.monte_carlo_em import MonteCarloEM
from ..noise.continuation import shift_window
from ..noise.multiplicative import NMFState
from ..rng import Streams
from ..signal_spec import SignalSpec
from .channel import level_scale, power_of
from .high_band_stream import LowBandListener, LowBandSpeech
from .residual_noise import RunningResidual
from .sample_buffer import MemoryBuffer
from .segmented_em import run_em


@dataclasses.dataclass(frozen=True)
class WindowFrames:
    """Parts of the window in frames: ``context`` before the block, the ``block``, ``lookahead`` after it."""

    block: int
    lookahead: int
    context: int


@dataclasses.dataclass(frozen=True)
class _WindowState:
    """What a window hands to the next: its first frame, its scale, and the state of the noise model."""

    start: int
    scale: float
    noise: Any


class SlidingWindow:
    """Monte Carlo EM on a window that moves over a stream, block by block.

    Each block runs EM on its window (:class:`WindowFrames`). The noise continues from the window before,
    spectra and activations; the latents start from the encoder, which reads the new window. ``level``: active
    RMS of the recording; None for the running level of what has been received. The residual noise
    (:mod:`vae_se.enhancement.residual_noise`) follows running levels as well. ``listener``: is told what EM
    finds in every block, or None.
    """

    def __init__(
        self,
        em: MonteCarloEM,
        signal: SignalSpec,
        device: torch.device,
        frames: WindowFrames,
        output: OutputConfig,
        seed: int,
        name: str,
        level: float | None = None,
        listener: LowBandListener | None = None,
    ) -> None:
        self._em, self._signal, self._stft, self._device = em, signal, signal.stft, device
        self._frames, self._seed, self._name = frames, seed, name
        self._level, self._meter = level, RunningLevel(signal.rate)
        # Positions in both buffers count from the first sample of frame 0, which lies in zeros before the
        # stream.
        self._front = signal.window - signal.hop
        self._noisy = MemoryBuffer(np.float32, self._front)
        self._speech = MemoryBuffer(np.float32, self._front)
        self._measured = self._returned = self._front  # samples that the meter has seen, the caller has got
        self._done, self._blocks = 0, 0  # frames and blocks that are enhanced
        self._residual = RunningResidual(output, signal)
        self._state: _WindowState | None = None
        self._listener = listener

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples (T,); return the speech that is complete, in order."""
        self._noisy.append(samples.astype(np.float32))
        speech, hop = [np.zeros(0, np.float32)], self._signal.hop
        needed = self._frames.block + self._frames.lookahead
        while self._noisy.size >= (self._done + needed - 1) * hop + self._signal.window:
            speech.append(self._next(self._done + self._frames.block, self._done + needed))
        return np.concatenate(speech)

    def flush(self) -> np.ndarray:
        """The speech of all samples that remain."""
        hop, end = self._signal.hop, self._noisy.size
        frames = self._stft.frames(end - self._front) if end > self._front else 0
        missing = max(0, (frames - 1) * hop + self._signal.window - end)
        self._noisy.append(np.zeros(missing, np.float32))
        speech = [np.zeros(0, np.float32)]
        while self._done < frames:
            stop = min(frames, self._done + self._frames.block + self._frames.lookahead)
            speech.append(self._next(min(frames, self._done + self._frames.block), stop))
        return np.concatenate(speech)

    def _next(self, block_stop: int, stop: int) -> np.ndarray:
        """Enhance the frames up to ``block_stop`` in a window up to frame ``stop``; the complete samples."""
        hop, window = self._signal.hop, self._signal.window
        first = max(0, self._done - self._frames.context)
        end = (stop - 1) * hop + window
        self._meter.push(self._noisy.read(self._measured, end))
        self._measured = end
        self._noisy.discard(first * hop)
        spectrum = self._stft.transform(torch.from_numpy(self._noisy.read(first * hop, end)).to(self._device))
        block = slice(self._done - first, block_stop - first)
        speech, level = spectrum[block], self._level or self._meter.active_rms()
        scale = level_scale(level, self._signal)
        if scale is not None:
            power = power_of(spectrum / scale)
            estimate = self._estimate(power, first, scale)
            wiener = estimate.wiener[0, block]
            speech = speech * self._residual.applied(wiener, spectrum[block], level)
            if self._listener is not None:
                found = _found(estimate, power, block, scale)
                self._listener.block(slice(self._done, block_stop), found)
        elif self._listener is not None:
            self._listener.block(slice(self._done, block_stop), None)
        samples = self._stft.contribution(speech).cpu().numpy()
        self._speech.add(self._done * hop, samples[: self._front])
        self._speech.append(samples[self._front :])
        self._done, self._blocks = block_stop, self._blocks + 1
        return self._complete()

    def _complete(self) -> np.ndarray:
        """Samples to which no later frame contributes."""
        stop = self._speech.size - self._front
        samples = self._speech.read(self._returned, stop)
        self._returned = max(self._returned, stop)
        self._speech.discard(stop)
        return samples

    def _estimate(self, power: torch.Tensor, first: int, scale: float) -> Estimate:
        """What EM finds in a window of ``power`` (N, F) at the prior's level; keeps the state for the next
        window."""
        power, before = power.unsqueeze(0), self._state
        mask = torch.ones(power.shape[:2], device=self._device)

        def continued(noise: Any) -> Any:
            if before is None:
                return noise
            ratio = (before.scale / scale) ** 2
            return shift_window(noise, before.noise, first - before.start, ratio, mask)

        key = f"{self._name}#{self._blocks}"
        streams = Streams.from_seed(self._seed, [key], [power.shape[1]], self._device)
        estimate = run_em(self._em, power, mask, streams, continued)
        self._state = _WindowState(first, scale, estimate.state.noise)
        return estimate


def _found(estimate: Estimate, power: torch.Tensor, block: slice, scale: float) -> LowBandSpeech:
    """What an estimate for a window of ``power`` (N, F) says about the speech and the noise of ``block``."""
    speech = estimate.wiener[0].square() * power + estimate.variance[0]
    noise = estimate.state.noise
    # Other noise models start again in every window, so their spectra are others, too.
    activations = noise.h[0, block] if isinstance(noise, NMFState) else power.new_zeros(len(power[block]), 0)
    return LowBandSpeech(scale, low_band_power(speech), block.start, activations)
