"""Training mixtures: clean speech, and noise that is simulated from the model or recorded."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.level import active_rms
from ..data.files import list_audio, read_at
from ..data.waveforms import WeightedSpeech, draw_cut
from ..deprecated import renamed_attribute
from ..errors import UsageError
from ..noisy_encoder.simulation import draw_noise
from ..priors import SpeechPrior
from ..rng import derive, numpy_stream
from ..stft import STFT

_SILENT = 1e-6  # floor of an RMS in a division


@dataclasses.dataclass(frozen=True)
class MixtureBatch:
    """Complex spectrograms (B, N, F) of ``speech`` and ``noise``; their sum has the prior's active level."""

    speech: torch.Tensor
    noise: torch.Tensor


@dataclasses.dataclass(frozen=True)
class MixtureWaveforms:
    """Waveforms (B, T) float32 of ``speech`` and ``noise``: a quarter of the memory of their spectra."""

    speech: torch.Tensor
    noise: torch.Tensor

    def spectra(self, stft: STFT, device: torch.device | str = "cpu") -> MixtureBatch:
        """Their spectrograms, computed on ``device``."""
        speech, noise = (w.to(device, non_blocking=True) for w in (self.speech, self.noise))
        return MixtureBatch(stft.analyse(speech), stft.analyse(noise))

    def pin_memory(self) -> MixtureWaveforms:
        """The same in memory that a GPU copies from by itself; torch's DataLoader calls this."""
        return MixtureWaveforms(self.speech.pin_memory(), self.noise.pin_memory())


class Mixtures(abc.ABC):
    """A source of training mixtures, at the rate, level and STFT of a prior."""

    prior: SpeechPrior

    @abc.abstractmethod
    def waveforms(self, seed: int, stream: str, step: int, size: int) -> MixtureWaveforms:
        """Batch number ``step`` of ``size`` mixtures, a function of these numbers alone."""

    def draw(self, seed: int, stream: str, step: int, size: int) -> MixtureBatch:
        """The spectrograms of :meth:`waveforms`."""
        return self.waveforms(seed, stream, step, size).spectra(self.prior.signal.stft)


@dataclasses.dataclass(frozen=True)
class MixtureSource(Mixtures):
    """Draws mixtures of clean speech and noise; batch k is a function of (seed, k).

    ``speech``: clean recordings with weights; ``prior``: for the STFT, and for simulated noise with the spectra
    of voices (simulation/model_noise.py); ``seconds``: length of a mixture; ``snr_db``: range of the uniform
    SNR in dB, the active level of the speech over the noise power; ``clean``: fraction of mixtures at an SNR of
    45 dB; ``babble``: fraction whose noise is the sum of 3 to 8 other cuts of the clean speech; ``pause``:
    fraction in which the first 0.2 to 1.5 s have no speech; ``recorded``: noise recordings (T,) at the
    prior's rate, in place of simulated noise.
    """

    speech: WeightedSpeech
    prior: SpeechPrior
    seconds: float = 4.0
    snr_db: tuple[float, float] = (-8.0, 22.0)
    clean: float = 0.06
    babble: float = 0.1
    pause: float = 0.3
    recorded: Sequence[np.ndarray] = ()

    def waveforms(self, seed: int, stream: str, step: int, size: int) -> MixtureWaveforms:
        """Batch number ``step`` of ``size`` mixtures, each scaled to the prior's active level (ITU-T P.56)."""
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
        return MixtureWaveforms(torch.from_numpy(speech), torch.from_numpy(noise))

    def _cut(self, length: int, random: np.random.Generator) -> np.ndarray:
        """A random cut (length,) of the clean speech."""
        return draw_cut(self.speech, length, random)

    def _noise(self, size: int, length: int, random: np.random.Generator, seed: int) -> np.ndarray:
        """Noise waveforms (size, length)."""
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
    """The first channels (T,) of all recordings under ``folder``, at ``rate`` Hz.

    Raises UsageError where there is none, and AudioError where one cannot be read.
    """
    if not (folder.is_dir() and list_audio(folder)):
        raise UsageError(f"no recordings of noise in {folder}", "pass a folder (searched recursively)")
    return [read_at(folder / path, rate, channel=0).astype(np.float32) for path in list_audio(folder)]


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"Batch": "MixtureBatch"})
