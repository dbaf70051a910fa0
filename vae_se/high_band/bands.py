"""Bands: of the low band, whose speech the decoder reads, and of the high band, whose speech it describes."""

from __future__ import annotations

import numpy as np
import torch

#: Number of high bands, and the frequency of their centres in Hz: every 500 Hz from 7.5 to 23 kHz.
HIGH_BANDS = 32
FIRST_CENTRE, SPACING = 7500.0, 500.0

#: Number of low bands, of equal width (250 Hz at 16 kHz).
LOW_BANDS = 32

#: Lowest frequency in Hz of what remains of a recording when its low band is subtracted.
LOWEST = 7000.0


def triangles(frequencies: np.ndarray) -> torch.Tensor:
    """Weight (HIGH_BANDS, F) of each high band in each bin; the weights of a bin sum to 1.

    Weights are linear between neighbouring centres. Below the first centre and above the last one the outer
    bands have all the weight, so what lies above 23 kHz is treated like the top band.

    >>> triangles(np.array([7000.0, 7600.0, 40000.0]))[[0, 1, 31]].tolist()
    [[1.0, 0.800000011920929, 0.0], [0.0, 0.20000000298023224, 0.0], [0.0, 0.0, 1.0]]
    """
    position = np.clip((frequencies - FIRST_CENTRE) / SPACING, 0, HIGH_BANDS - 1)
    distance = np.abs(position[None] - np.arange(HIGH_BANDS)[:, None])
    return torch.from_numpy(np.maximum(0.0, 1 - distance).astype(np.float32))


def low_band_power(power: torch.Tensor) -> torch.Tensor:
    """Mean power (N, LOW_BANDS) in the low bands, from power (N, F) of the prior's STFT.

    The bins of the prior's STFT without the first are divided evenly, as far as they go.
    """
    width = (power.shape[-1] - 1) // LOW_BANDS
    inner = power[:, 1 : 1 + width * LOW_BANDS]
    return inner.reshape(len(power), LOW_BANDS, width).mean(-1)
