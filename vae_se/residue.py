"""How much of the noise stays in."""

from __future__ import annotations

import numpy as np

from .audio.level import active_rms
from .config import OutputConfig
from .numerics import SILENCE_RMS


def noise_left(output: OutputConfig, speech: np.ndarray, noise: np.ndarray, rate: int) -> np.ndarray:
    """The part of ``noise`` (C, T) that stays beside ``speech`` (C, T), per channel (C, 1), from 0 to 1.

    The most of what three settings ask for: ``dry``; ``atten_lim_db``; and ``floor_db`` F, by which noise that
    is S dB below the active level of the speech is turned down to F dB below it and no further, by F - S. What
    lies below hardly sounds, and what is taken for noise there is to a good part speech.
    """
    least = max(output.dry, 10 ** (-output.atten_lim_db / 20))
    left = np.full((len(speech), 1), least)
    for c in range(len(speech)):
        level = float(np.sqrt(np.mean(np.square(noise[c], dtype=np.float64))))
        if np.isfinite(output.floor_db) and level >= SILENCE_RMS:
            part = active_rms(speech[c], rate) / level * 10 ** (-output.floor_db / 20)
            left[c] = max(least, min(1.0, part))
    return left
