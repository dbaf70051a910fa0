"""Mixtures to train on: clean speech, and noise that is simulated from the model or recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.level import active_rms
from ..data.waveforms import Waveforms
from ..errors import UsageError
from ..noisy_encoder.simulation import draw_noise
from ..rng import derive, numpy_stream

_SILENT = 1e-6


@dataclasses.dataclass(frozen=True)
class Batch:
    """Complex spectrograms (B, N, F) of ``speech`` and ``noise``, their sum at the prior's active level."""

    speech: torch.Tensor
    noise: torch.Tensor


@dataclasses.dataclass(frozen=True)
class MixtureSource:
    """Draws batch number ``step`` of a stream; the same numbers whatever was drawn before.

    ``speech``: clean recordings; ``prior``: gives the STFT, and the voices of noisy_encoder/simulation.py;
    ``seconds`` per mixture; ``snr_db``: range of the SNR, uniform, of the speech's active level to the
    noise's power; ``clean``: part of mixtures whose noise lies 45 dB down; ``babble``: part whose noise is 3
    to 8 other cuts of the clean speech; ``pause``: part in which the first 0.2 to 1.5 s hold no speech;
    ``recorded``: noise recordings (T,) at the prior's rate instead of simulated noise.
    """

    speech: Waveforms
    prior: Any
    seconds: float = 4.0
    snr_db: tuple[float, float] = (-8.0, 22.0)
    clean: float = 0.06
    babble: float = 0.1
    pause: float = 0.3
    recorded: Sequence[np.ndarray] = ()

    def draw(self, seed: int, stream: str, step: int, size: int) -> Batch:
        """``size`` mixtures, each scaled so that its active level (ITU-T P.56) is the prior's."""
        signal = self.prior.signal
        random = numpy_stream(seed, stream, step)
        length = round(self.seconds * signal.rate)
        noise = self._noise(size, length, random, derive(seed, stream, step, "noise"))
        speech = np.empty((size, length), np.float32)
        for row, (s, b) in enumerate(zip(speech, noise, strict=True)):
            s[:] = self._cut(length, random)
            if random.random() < self.pause:
                s[: int(random.uniform(0.2, 1.5) * signal.rate)] = 0
            if random.random() < self.babble:
                b[:] = 0
                for _ in range(int(random.integers(3, 9))):
                    b += random.uniform(0.3, 1) * self._cut(length, random)
            snr = 45.0 if random.random() < self.clean else random.uniform(*self.snr_db)
            b *= 10 ** (-snr / 20) * signal.active_rms / max(float(np.sqrt(np.mean(b**2))), _SILENT)
            scale = signal.active_rms / max(active_rms(s + b, signal.rate), _SILENT)
            speech[row] *= scale
            b *= scale
        stft = signal.stft
        return Batch(stft.analyse(torch.from_numpy(speech)), stft.analyse(torch.from_numpy(noise)))

    def _cut(self, length: int, random: np.random.Generator) -> np.ndarray:
        return self.speech.cut(int(random.integers(0, len(self.speech) - length + 1)), length)

    def _noise(self, size: int, length: int, random: np.random.Generator, seed: int) -> np.ndarray:
        if not self.recorded:
            generator = torch.Generator().manual_seed(seed)
            return draw_noise(self.prior, size, length, generator).numpy()
        out = np.empty((size, length), np.float32)
        for row in out:
            source = self.recorded[int(random.integers(len(self.recorded)))]
            start = random.integers(0, max(1, len(source) - length + 1))
            row[:] = np.take(source, np.arange(start, start + length), mode="wrap")
        return out


def read_noise(folder: Path, rate: int) -> list[np.ndarray]:
    """The first channels of all recordings under ``folder``, (T,) each, at ``rate`` Hz.

    Raises UsageError where there is none, AudioError where one cannot be read.
    """
    from ..data.files import list_audio, read_at

    if not (folder.is_dir() and list_audio(folder)):
        raise UsageError(f"no recordings of noise in {folder}", "pass a folder (searched recursively)")
    return [read_at(folder / path, rate, channel=0).astype(np.float32) for path in list_audio(folder)]
