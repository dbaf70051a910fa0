"""A noisy recording with its clean reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """One item of a test set. Waveforms are mono (T,), float32, full scale 1.0; ``rate`` is in Hz.

    ``noise``, ``snr_db`` and ``noise_type`` are None where the test set does not provide them. ``id`` is
    unique in its test set and valid as a file name, except that it may contain slashes.
    """

    id: str
    clean: np.ndarray
    noisy: np.ndarray
    rate: int
    noise: np.ndarray | None = None
    snr_db: float | None = None
    noise_type: str | None = None
