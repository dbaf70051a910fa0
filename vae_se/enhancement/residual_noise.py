"""How much of the noise stays in."""

from __future__ import annotations

import math

import numpy as np

from ..audio.level import active_rms, rms
from ..config import OutputConfig
from ..numerics import SILENCE_RMS


def leaves_noise(output: OutputConfig) -> bool:
    """Whether any of the settings leaves noise in."""
    return output.dry > 0 or math.isfinite(output.atten_lim_db) or math.isfinite(output.floor_db)


def noise_left(output: OutputConfig, speech: np.ndarray, noise: np.ndarray, rate: int) -> np.ndarray:
    """The part of ``noise`` (C, T) that stays beside ``speech`` (C, T), per channel (C, 1), from 0 to 1."""
    floored = math.isfinite(output.floor_db)
    parts = [
        part_left(output, active_rms(one, rate) if floored else 0.0, rms(other, rate))
        for one, other in zip(speech, noise, strict=True)
    ]
    return np.array(parts)[:, None]


def part_left(output: OutputConfig, speech_level: float, noise_level: float) -> float:
    """The part of the noise, of root mean square ``noise_level``, that stays beside speech of an active level.

    The most of what three settings ask for: ``dry``; ``atten_lim_db``; and ``floor_db`` F, by which noise that
    is S dB below the active level of the speech is turned down to F dB below it and no further, by F - S. What
    lies below hardly sounds, and what is taken for noise there is to a good part speech.
    """
    least = max(output.dry, 10 ** (-output.atten_lim_db / 20))
    if not math.isfinite(output.floor_db) or noise_level < SILENCE_RMS:
        return least
    return max(least, min(1.0, speech_level / noise_level * 10 ** (-output.floor_db / 20)))
