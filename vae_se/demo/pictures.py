"""Spectrograms as bytes for a canvas: averaged to the columns of a screen, computed block by block."""

from __future__ import annotations

import numpy as np
import torch

from ..signal_spec import SignalSpec

#: More columns are averaged: no screen shows them.
MAX_COLUMNS = 1200

#: Range of a picture in dB.
RANGE_DB = 75.0


class Columns:
    """Averages frames over runs of equal length, so that at most :data:`MAX_COLUMNS` columns remain."""

    def __init__(self, frames: int, bins: int) -> None:
        self.run = max(1, -(-frames // MAX_COLUMNS))
        columns = -(-frames // self.run)
        self._sum, self._count = np.zeros((columns, bins)), np.zeros(columns)
        self._frames, self._left = 0, frames

    def push(self, power: np.ndarray) -> None:
        """Take the next frames (N, F); those beyond the announced number are left out."""
        power = power[: self._left]
        self._left -= len(power)
        index = (self._frames + np.arange(len(power))) // self.run
        np.add.at(self._sum, index, power)
        np.add.at(self._count, index, 1)
        self._frames += len(power)

    def mean(self) -> np.ndarray:
        """Mean power of each column, (columns, F)."""
        return self._sum / np.maximum(self._count, 1)[:, None]


class Spectrogram:
    """Power spectrogram |x|^2 of samples that come in blocks at the rate of ``signal``, ``frames`` frames in
    all.

    Its frames are those of :meth:`~vae_se.stft.STFT.analyse`.
    """

    def __init__(self, frames: int, signal: SignalSpec) -> None:
        self.signal, self._stft = signal, signal.stft
        self._columns = Columns(frames, self._stft.bins)
        self._waiting = np.zeros(signal.window - signal.hop, np.float32)

    def push(self, block: np.ndarray) -> None:
        """Take the next samples (T,)."""
        self._waiting = np.concatenate([self._waiting, block.astype(np.float32)])
        if self._waiting.size >= self._stft.window:
            spectra = self._stft.transform(torch.from_numpy(self._waiting))
            self._columns.push(spectra.abs().square().numpy())
            self._waiting = self._waiting[len(spectra) * self._stft.hop :]

    def finish(self) -> np.ndarray:
        """Mean power of each column, (columns, F)."""
        self.push(np.zeros(self._stft.window, np.float32))
        return self._columns.mean()


def averaged(power: np.ndarray, frames: int) -> np.ndarray:
    """Frames (N, F) averaged to columns like those of a :class:`Spectrogram` of ``frames`` frames."""
    columns = Columns(frames, power.shape[1])
    columns.push(power)
    return columns.mean()


def top_db(power: np.ndarray) -> float:
    """Level of the largest power in dB, rounded to 0.1 dB; -200 for silence."""
    return round(float(10 * np.log10(max(power.max(initial=0.0), 1e-20))), 1)


def as_bytes(power: np.ndarray, top: float) -> bytes:
    """Powers (columns, F) as one byte each, column by column: 255 at ``top`` dB, 0 at RANGE_DB below or less.

    >>> list(as_bytes(np.array([[1.0, 1e-3, 0.0]]), 0.0))
    [255, 153, 0]
    """
    decibels = 10 * np.log10(np.maximum(power, 1e-20))
    scaled = np.clip((decibels - top) / RANGE_DB + 1, 0, 1)
    return np.rint(scaled * 255).astype(np.uint8).tobytes()
