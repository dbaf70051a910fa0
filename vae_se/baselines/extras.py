"""Baselines that need the extra ``baselines``: noisereduce and RNNoise."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .base import baseline
from .spectral import at_rate

_RNNOISE_RATE = 48000
# RNNoise was trained on 16-bit levels: speech at an RMS of -26 dBFS.
_RNNOISE_LEVEL = 32768 * 10 ** (-26 / 20)
# Delay of its output in samples at 48 kHz, measured by cross-correlation; a test guards it.
RNNOISE_DELAY = 960


@baseline(
    "noisereduce",
    "T. Sainburg, noisereduce (spectral gating); T. Sainburg, M. Thielk, T. Q. Gentner, 2020",
    package="noisereduce",
)
def noisereduce(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Non-stationary spectral gating with the package's default settings.

    They attenuate speech, too: the noise floor follows the recording within 2 s and includes steady voiced
    speech.
    """
    import noisereduce as package

    window = 1024
    padded = np.pad(noisy, (0, max(0, window - noisy.size)))  # it fails on signals shorter than a window
    return package.reduce_noise(y=padded, sr=rate)[: noisy.size]


def _denoise(wave: np.ndarray) -> np.ndarray:
    """RNNoise on a waveform (T,) at 48 kHz, in float and with its delay removed."""
    from pyrnnoise import rnnoise as library

    size: int = library.FRAME_SIZE
    count = -(-(wave.size + RNNOISE_DELAY) // size)
    frames = np.zeros((count, size), dtype=np.float32)
    frames.reshape(-1)[: wave.size] = wave * _RNNOISE_LEVEL
    state: Any = library.create()
    try:
        for frame in frames:
            pointer = frame.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            library.lib.rnnoise_process_frame(state, pointer, pointer)
    finally:
        library.lib.rnnoise_destroy(ctypes.c_void_p(state))
    return frames.reshape(-1)[RNNOISE_DELAY : RNNOISE_DELAY + wave.size].astype(np.float64) / _RNNOISE_LEVEL


@baseline(
    "rnnoise",
    "J.-M. Valin, A hybrid DSP/deep learning approach to real-time full-band speech enhancement, MMSP 2018",
    package="pyrnnoise",
)
def rnnoise(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """RNNoise at 48 kHz with the weights of pyrnnoise, and with its delay removed.

    The input is scaled to -26 dBFS, the level of its training data.
    """
    return at_rate(noisy, rate, _RNNOISE_RATE, _denoise)
