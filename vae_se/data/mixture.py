"""A noisy recording with its clean twin: what an evaluation is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """One test item. Waveforms are mono (T,), float32, full scale 1.0.

    ``noise`` is None where only the pair is known. ``snr_db`` and ``noise_type`` are None where the test
    set does not tell. ``id`` is unique in its test set and safe as a file name but for its slashes.
    """

    id: str
    clean: np.ndarray
    noisy: np.ndarray
    rate: int
    noise: np.ndarray | None = None
    snr_db: float | None = None
    noise_type: str | None = None
