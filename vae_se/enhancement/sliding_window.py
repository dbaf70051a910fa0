"""One channel of a stream at the prior's rate: samples in, speech out, some frames later."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from ..audio.running import MEMORY, RunningLevel
from ..config import OutputConfig
from ..inference.monte_carlo_em import MonteCarloEM
from ..noise.continuation import shift_window
from ..numerics import SILENCE_RMS
from ..rng import Streams
from .residual_noise import part_left


@dataclasses.dataclass(frozen=True)
class Frames:
    """Lengths in frames: ``block`` leave at a time, ``lookahead`` are heard after them, and EM sees
    ``context`` before them as well."""

    block: int
    lookahead: int
    context: int


@dataclasses.dataclass(frozen=True)
class _State:
    """What a block hands to the next: the first frame of its window, its scale, and the noise that it
    found."""

    start: int
    scale: float
    noise: Any


class SlidingWindow:
    """Monte Carlo EM on a window that moves over a stream, block by block.

    Every block runs EM on its window: ``context`` past frames, the block, ``lookahead`` frames. The noise
    goes on from where the block before left it, spectra and activations; latents start from the recognition
    network, which reads the window. The level is that of what was heard so far, or ``level`` where it is
    known beforehand. What is left of the noise (:mod:`vae_se.enhancement.residual_noise`) follows the same running level.
    """

    def __init__(
        self,
        em: MonteCarloEM,
        signal: Any,
        device: torch.device,
        frames: Frames,
        output: OutputConfig,
        seed: int,
        name: str,
        level: float | None = None,
    ) -> None:
        self._em, self._signal, self._stft, self._device = em, signal, signal.stft, device
        self._frames, self._output, self._seed, self._name = frames, output, seed, name
        self._level, self._meter = level, RunningLevel(signal.rate)
        self._front = signal.window - signal.hop
        # Samples from the first that the window's first frame sees; in front of a stream there are zeros.
        self._samples, self._start = np.zeros(self._front, np.float32), 0
        self._metered = self._front  # samples of the stream, its front included, that the level knows
        self._done, self._blocks = 0, 0  # frames and blocks that have left
        self._tail = np.zeros(
            self._front, np.float32
        )  # what frames that have left add to samples still to come
        self._drop = self._front
        self._noise_power, self._heard = 0.0, 0.0
        self._state: _State | None = None

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The next samples (T,), and the speech of samples that are done, in the order they came."""
        self._samples = np.concatenate([self._samples, samples.astype(np.float32)])
        found, hop = [np.zeros(0, np.float32)], self._signal.hop
        wanted = self._frames.block + self._frames.lookahead
        while self._start * hop + self._samples.size >= (self._done + wanted - 1) * hop + self._signal.window:
            found.append(self._next(self._done + self._frames.block, self._done + wanted))
        return np.concatenate(found)

    def flush(self) -> np.ndarray:
        """The speech of all that is left."""
        hop = self._signal.hop
        end = self._start * hop + self._samples.size  # with the front
        samples = end - self._front
        frames = self._stft.frames(samples) if samples else 0
        lacking = max(0, (frames - 1) * hop + self._signal.window - end)
        self._samples = np.pad(self._samples, (0, lacking))
        found = [np.zeros(0, np.float32)]
        while self._done < frames:
            stop = min(frames, self._done + self._frames.block + self._frames.lookahead)
            found.append(self._next(min(frames, self._done + self._frames.block), stop))
        return np.concatenate(found)

    def _next(self, leaving: int, stop: int) -> np.ndarray:
        """Enhance the block up to frame ``leaving``, seeing frames up to ``stop``; the samples that are
        done."""
        hop, window = self._signal.hop, self._signal.window
        first = max(0, self._done - self._frames.context)
        self._samples, self._start = self._samples[(first - self._start) * hop :], first
        end = (stop - 1 - first) * hop + window
        self._meter.push(self._samples[self._metered - first * hop : end])
        self._metered = first * hop + end
        scale = (self._level or self._meter.active_rms()) / self._signal.active_rms
        block = slice(self._done - first, leaving - first)
        spectrum = self._stft.transform(torch.from_numpy(self._samples[:end]).to(self._device))
        speech = spectrum[block]
        if scale * self._signal.active_rms >= SILENCE_RMS:
            mask = self._separate(spectrum / scale, first, scale, block)
            speech = speech * self._with_residue(mask, spectrum[block], scale)
        found = self._stft.contribution(speech).cpu().numpy()
        found[: self._front] += self._tail
        done = found.size - self._front
        self._tail = found[done:]
        self._done, self._blocks = leaving, self._blocks + 1
        dropped = min(self._drop, done)
        self._drop -= dropped
        return found[dropped:done]

    def _separate(self, spectrum: torch.Tensor, first: int, scale: float, block: slice) -> torch.Tensor:
        """The filter (block, F) for a window (N, F) at the prior's level, and the state for the next one."""
        power = (spectrum.real.square() + spectrum.imag.square()).unsqueeze(0)
        mask = torch.ones(power.shape[:2], device=self._device)
        key = f"{self._name}#{self._blocks}"
        streams = Streams.from_seed(self._seed, [key], [power.shape[1]], self._device)
        state, before = self._em.start(power, mask, streams), self._state
        if before is not None:
            ratio = (before.scale / scale) ** 2
            noise = shift_window(state.noise, before.noise, first - before.start, ratio, mask)
            state = dataclasses.replace(state, noise=noise)
        estimate = self._em.run(power, mask, streams, state)
        self._state = _State(first, scale, estimate.state.noise)
        return estimate.wiener[0, block]

    def _with_residue(self, mask: torch.Tensor, spectrum: torch.Tensor, scale: float) -> torch.Tensor:
        """The filter (N, F) with as much of the noise left in as the settings ask for."""
        keep = np.exp(-len(mask) * self._signal.hop / (self._signal.rate * MEMORY))
        noise = ((1 - mask) * spectrum).abs().square().mean(-1)
        self._noise_power = keep * self._noise_power + float(noise.sum())
        self._heard = keep * self._heard + len(mask)
        level = float(np.sqrt(self._noise_power / self._heard))
        left = part_left(self._output, scale * self._signal.active_rms, level)
        return mask + left * (1 - mask)
