"""Active level: how loud the sound is while there is any (ITU-T P.56)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.signal import lfilter

_TIME_CONSTANT = 0.03  # seconds, of each of the two smoothing poles
_HANGOVER = 0.2  # seconds
_BLOCK = 1 << 18  # samples
_MARGIN_DB = 15.9  # between the active level and the activity threshold


def active_rms(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of a mono waveform (T,) over its active part; 0.0 for silence.

    ITU-T Recommendation P.56 (2011), method B: the envelope is smoothed by two poles, the time above each
    of a ladder of thresholds is counted with a hangover, and the level is read where it lies 15.9 dB
    above the threshold. Departure: the envelope (which is smooth over 30 ms) is looked at once a
    millisecond, which makes the ladder cheap for hours of sound.
    """
    power = _mean_square(waveform)
    if power == 0.0:
        return 0.0
    pole = np.exp(-1.0 / (rate * _TIME_CONSTANT))
    step = max(1, rate // 1000)
    envelope = _envelope(waveform, pole, step)
    position = np.arange(envelope.size)
    hang = int(_HANGOVER * rate / step)
    # One threshold every 6.02 dB, from far below any envelope up to its maximum.
    top = float(envelope.max())
    thresholds = max(top, 1e-20) * 2.0 ** -np.arange(1, 18)
    levels_db, margins = [], []
    for threshold in thresholds:
        above = envelope >= threshold
        last = np.maximum.accumulate(np.where(above, position, -hang - 1))
        activity = float(np.mean(position - last <= hang))
        if activity == 0.0:
            continue
        level = 10 * np.log10(power / activity)
        levels_db.append(level)
        margins.append(level - 20 * np.log10(threshold))
    if not margins or margins[0] >= _MARGIN_DB:
        # A sound so short or so even that the margin is passed at the top already.
        return float(np.sqrt(power)) if not levels_db else float(10 ** (levels_db[0] / 20))
    level = np.interp(_MARGIN_DB, margins, levels_db)
    return float(10 ** (level / 20))


def _mean_square(waveform: np.ndarray) -> float:
    total = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in _blocks(waveform, 1))
    return total / waveform.size if waveform.size else 0.0


def _envelope(waveform: np.ndarray, pole: float, step: int) -> np.ndarray:
    """The magnitude smoothed by two equal poles, every ``step`` samples."""
    parts, memory = [], np.zeros(2)
    for part in _blocks(waveform, step):
        smooth, memory = lfilter([(1 - pole) ** 2], [1, -2 * pole, pole**2], np.abs(part), zi=memory)
        parts.append(smooth[::step].copy())  # a view would keep the whole block
    return np.concatenate(parts)


def _blocks(waveform: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """Parts of some seconds, whole multiples of ``step`` but for the last: an hour is never held twice."""
    length = -(-_BLOCK // step) * step
    for start in range(0, waveform.size, length):
        yield waveform[start : start + length]
