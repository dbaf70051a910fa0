"""Short-time Fourier transform in NumPy, with window, padding and scale of :mod:`vae_se.stft`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, rfft

from ..audio.resample import resample


@dataclasses.dataclass(frozen=True)
class Spectral:
    """An STFT with a sine window of unit energy, zero padding and least-squares synthesis.

    ``window`` and ``hop`` are in samples, ``rate`` in Hz; the hop divides the window.
    """

    window: int
    hop: int
    rate: int

    @classmethod
    def for_rate(cls, rate: int, window_ms: float = 32.0, overlap: int = 4) -> Spectral:
        """An STFT at ``rate`` Hz with a window of about ``window_ms``, ``overlap`` hops long.

        >>> Spectral.for_rate(16000)
        Spectral(window=512, hop=128, rate=16000)
        """
        hop = max(1, round(rate * window_ms / 1000 / overlap))
        return cls(hop * overlap, hop, rate)

    @property
    def hop_seconds(self) -> float:
        """Time between frames in seconds, from which trackers derive their smoothing constants."""
        return self.hop / self.rate

    def _taper(self) -> np.ndarray:
        n = np.arange(self.window)
        return np.sin(np.pi * (n + 0.5) / self.window) * math.sqrt(2 / self.window)

    def analyse(self, waveform: np.ndarray) -> np.ndarray:
        """The complex spectrogram (N, F) of a waveform (T,)."""
        front = self.window - self.hop
        frames = math.ceil((waveform.size + front) / self.hop)
        back = (frames - 1) * self.hop + self.window - waveform.size - front
        padded = np.pad(waveform, (front, back))
        view = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        return rfft(view * self._taper(), axis=1)

    def steady_power(self, spectrogram: np.ndarray) -> np.ndarray:
        """Power (N, F) for a noise tracker: frames with padding take the power of the nearest frame without.

        Otherwise they would look like a pause of the noise, whose minimum a tracker keeps for seconds.
        """
        power = np.square(np.abs(spectrogram))
        edge = self.window // self.hop - 1
        if power.shape[0] > 2 * edge + 1:
            power[:edge] = power[edge]
            power[-edge - 1 :] = power[-edge - 2]  # frame -edge - 1 may contain padding, too
        return power

    def synthesise(self, spectrogram: np.ndarray, samples: int) -> np.ndarray:
        """The waveform (T,) of ``samples`` samples of a spectrogram (N, F)."""
        taper = self._taper()
        parts = self.window // self.hop
        frames = (irfft(spectrogram, self.window, axis=1) * taper).reshape(-1, parts, self.hop)
        summed = np.zeros((frames.shape[0] + parts - 1, self.hop))
        for part in range(parts):
            summed[part : part + frames.shape[0]] += frames[:, part]
        summed /= np.square(taper).reshape(parts, self.hop).sum(axis=0)
        front = self.window - self.hop
        return summed.reshape(-1)[front : front + samples]


def filtered(noisy: np.ndarray, rate: int, gain: Callable[[np.ndarray, Spectral], np.ndarray]) -> np.ndarray:
    """Apply the gain (N, F) that ``gain(spectrogram, spectral)`` returns to a waveform (T,)."""
    spectral = Spectral.for_rate(rate)
    spectrogram = spectral.analyse(noisy)
    return spectral.synthesise(gain(spectrogram, spectral) * spectrogram, noisy.size)


def at_rate(
    noisy: np.ndarray, rate: int, working: int, method: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Run ``method`` on a waveform (T,) at ``working`` Hz; the result has the original rate and length.

    The band above half of the lower rate is lost.
    """
    if rate == working:
        return method(noisy)
    return resample(method(resample(noisy, rate, working)), working, rate, noisy.size)
