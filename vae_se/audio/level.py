"""Active level: how loud the sound is while there is any (ITU-T P.56)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

TIME_CONSTANT = 0.03  # seconds, of each of the two smoothing poles
HANGOVER = 0.2  # seconds
_BLOCK = 1 << 18  # samples: what comes is looked at in parts of some seconds
MARGIN_DB = 15.9  # between the active level and the activity threshold
_IN_MEMORY = 1 << 24  # bytes of envelope, half an hour of it: more goes to disk


def active_rms(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of a mono waveform (T,) over its active part; 0.0 for silence.

    ITU-T Recommendation P.56 (2011), method B: the envelope is smoothed by two poles, the time above each
    of a ladder of thresholds is counted with a hangover, and the level is read where it lies 15.9 dB
    above the threshold. Departure: the envelope (which is smooth over 30 ms) is looked at once a
    millisecond, which makes the ladder cheap for hours of sound.
    """
    meter = LevelMeter(rate)
    meter.push(waveform)
    return meter.active_rms()


def rms(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of all of a mono waveform (T,)."""
    meter = LevelMeter(rate)
    meter.push(waveform)
    return meter.rms()


def _read_ladder(power: float, thresholds: Sequence[float], activities: Sequence[float]) -> float:
    """The active level, from the mean square of a sound and the part of the time that its envelope is above
    each of ``thresholds``, which fall."""
    levels_db, margins = [], []
    for threshold, activity in zip(thresholds, activities, strict=True):
        if activity == 0.0:
            continue
        level = 10 * np.log10(power / activity)
        levels_db.append(level)
        margins.append(level - 20 * np.log10(threshold))
    if not margins or margins[0] >= MARGIN_DB:
        # A sound so short or so even that the margin is passed at the top already.
        return float(np.sqrt(power)) if not levels_db else float(10 ** (levels_db[0] / 20))
    level = np.interp(MARGIN_DB, margins, levels_db)
    return float(10 ** (level / 20))


def smooth_envelope(part: np.ndarray, pole: float, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The magnitude of (T,) smoothed by two equal poles, and the filter's memory after it."""
    smooth, memory = lfilter([(1 - pole) ** 2], [1, -2 * pole, pole**2], np.abs(part), zi=memory)
    return smooth, memory


class LevelMeter:
    """Levels of a mono waveform that comes in parts: the same, to the last bit, whatever the parts.

    Memory is bounded: the envelope of a long recording is kept in a temporary file.
    """

    def __init__(self, rate: int) -> None:
        self._pole = np.exp(-1.0 / (rate * TIME_CONSTANT))
        self._step = max(1, rate // 1000)
        self._hang = int(HANGOVER * rate / self._step)
        self._length = -(-_BLOCK // self._step) * self._step
        self._envelope = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives with the meter
        self._smoothing = np.zeros(2)
        self._rest = np.zeros(0)
        self._samples, self._energy, self._top = 0, 0.0, 0.0

    def push(self, samples: np.ndarray) -> None:
        """The next samples (T,), any number of them."""
        if self._rest.size:
            take = self._length - self._rest.size
            self._rest = np.concatenate([self._rest, samples[:take]])
            samples = samples[take:]
            if self._rest.size < self._length:
                return
            self._add(self._rest)
        whole = samples.size - samples.size % self._length
        for start in range(0, whole, self._length):
            self._add(samples[start : start + self._length])
        self._rest = samples[whole:].copy()

    def rms(self) -> float:
        """Root mean square of all that was pushed; 0.0 where that is nothing."""
        energy = self._energy + float(np.sum(np.square(self._rest, dtype=np.float64)))
        samples = self._samples + self._rest.size
        return float(np.sqrt(energy / samples)) if samples else 0.0

    def active_rms(self) -> float:
        """The active level of all that was pushed, after which nothing more can be."""
        if self._rest.size:
            self._add(self._rest)
            self._rest = np.zeros(0)
        power = self._energy / self._samples if self._samples else 0.0
        if power == 0.0:
            return 0.0
        # One threshold every 6.02 dB, from far below any envelope up to its maximum.
        thresholds = max(self._top, 1e-20) * 2.0 ** -np.arange(1, 18)
        return _read_ladder(power, thresholds.tolist(), self._activities(thresholds))

    def _add(self, part: np.ndarray) -> None:
        """``_length`` samples, or fewer at the end: energy, and the magnitude smoothed by two equal poles."""
        self._energy += float(np.sum(np.square(part, dtype=np.float64)))
        self._samples += part.size
        smooth, self._smoothing = smooth_envelope(part, self._pole, self._smoothing)
        envelope = smooth[:: self._step]
        self._top = max(self._top, float(envelope.max()))
        self._envelope.write(envelope.astype(np.float64).tobytes())

    def _activities(self, thresholds: np.ndarray) -> list[float]:
        """Per threshold, the part of the time that the envelope is above it or was so a hangover ago."""
        counts = [0] * len(thresholds)
        last = [-self._hang - 1] * len(thresholds)
        seen = 0
        self._envelope.seek(0)
        while data := self._envelope.read(8 * _BLOCK):
            envelope = np.frombuffer(data)
            position = seen + np.arange(envelope.size)
            for i, threshold in enumerate(thresholds):
                heard = np.maximum.accumulate(np.where(envelope >= threshold, position, last[i]))
                counts[i] += int(np.count_nonzero(position - heard <= self._hang))
                last[i] = int(heard[-1])
            seen += envelope.size
        return [count / seen for count in counts]
