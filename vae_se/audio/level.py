"""Active speech level: the level of a recording in its active parts (ITU-T P.56)."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence

import numpy as np

TIME_CONSTANT = 0.03  # seconds, of both smoothing poles
HANGOVER = 0.2  # seconds
_BLOCK = 1 << 18  # samples that are processed at once
_RUN = 1024  # samples in a row of the recursive filter: its weights change by a factor of 1e15 at most
MARGIN_DB = 15.9  # between the active level and the activity threshold
_IN_MEMORY = 1 << 24  # bytes of envelope in memory, about half an hour; a longer one goes to disk


def active_rms(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of a mono waveform (T,) over its active parts; 0.0 for silence.

    ITU-T Recommendation P.56 (2011), method B: the envelope is smoothed by two poles; for each of a set of
    thresholds, the time that the envelope spends above it is measured with a hangover; the result is the level
    that lies 15.9 dB above its threshold. Departure: the envelope, which is smooth over 30 ms, is sampled once
    per millisecond, which makes hours of sound cheap.
    """
    meter = LevelMeter(rate)
    meter.push(waveform)
    return meter.active_rms()


def rms(waveform: np.ndarray, rate: int) -> float:
    """Root mean square of a mono waveform (T,)."""
    meter = LevelMeter(rate)
    meter.push(waveform)
    return meter.rms()


def _read_ladder(power: float, thresholds: Sequence[float], activities: Sequence[float]) -> float:
    """The active level, from the mean square ``power`` of a sound and the fraction of time that its envelope
    spends above each of the decreasing ``thresholds``.

    The search goes upwards from the lowest threshold, as in P.56, because the margin between the level and the
    threshold need not fall with the threshold: a loud click has a second crossing far above that of the speech.
    """
    lower = None  # margin and level at the threshold below
    for threshold, activity in zip(reversed(thresholds), reversed(activities), strict=True):
        if activity == 0.0:
            break
        level = 10 * np.log10(power / activity)
        margin = level - 20 * np.log10(threshold)
        if margin < MARGIN_DB:
            if lower is not None:
                level = np.interp(MARGIN_DB, [margin, lower[0]], [level, lower[1]])
            return float(10 ** (level / 20))
        lower = margin, level
    # A sound so short or so steady that the highest threshold still has the margin.
    return float(np.sqrt(power)) if lower is None else float(10 ** (lower[1] / 20))


def smooth_envelope(part: np.ndarray, pole: float, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth the magnitude of (T,) by two equal poles, one after the other.

    ``memory`` (2,): last output of each. Returns the envelope in double precision, and the new memory.
    """
    first, last = _one_pole(np.abs(part), pole, memory[0])
    second, final = _one_pole(first, pole, memory[1])
    return second, np.array([last, final])


def _one_pole(samples: np.ndarray, pole: float, last: float) -> tuple[np.ndarray, float]:
    """y[n] = pole y[n-1] + (1 - pole) x[n] for non-negative x (T,), and the last y; ``last``: the y before.

    Within a row of samples y[n] = pole^(n+1) (y[-1] + (1 - pole) sum_(i <= n) x[i] pole^-(i+1)), a running sum
    of terms that are not negative, so nothing cancels. scipy.signal has a function for this filter, but takes
    half a second to import.

    >>> _one_pole(np.array([1.0, 0.0, 0.0]), 0.5, 0.0)
    (array([0.5  , 0.25 , 0.125]), 0.125)
    """
    size = samples.size
    if not size:
        return np.zeros(0), last
    length = min(_RUN, size)
    rows = np.zeros((-(-size // length), length))
    rows.ravel()[:size] = samples
    powers = pole ** np.arange(1, length + 1)
    rows *= (1 - pole) / powers
    np.cumsum(rows, axis=1, out=rows)
    before = np.empty((len(rows), 1))
    for number, total in enumerate(rows[:, -1].tolist()):
        before[number] = last
        last = powers[-1] * (last + total)
    rows += before
    rows *= powers
    smooth = rows.ravel()[:size]
    return smooth, float(smooth[-1])


class LevelMeter:
    """Measures the levels of a mono waveform block by block; the blocks make no difference, to the last bit.

    Memory is bounded: the envelope of a long recording goes to a temporary file.
    """

    def __init__(self, rate: int) -> None:
        self._pole = np.exp(-1.0 / (rate * TIME_CONSTANT))
        self._step = max(1, rate // 1000)
        self._hang = int(HANGOVER * rate / self._step)
        self._length = -(-_BLOCK // self._step) * self._step
        self._envelope = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - see the next line
        weakref.finalize(self, self._envelope.close)  # it is closed when the meter is no longer used
        self._smoothing = np.zeros(2)
        self._rest = np.zeros(0)
        self._samples, self._energy, self._top = 0, 0.0, 0.0

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples (T,), any number of them."""
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
        """Root mean square of all samples so far; 0.0 if there are none."""
        energy = self._energy + float(np.sum(np.square(self._rest, dtype=np.float64)))
        samples = self._samples + self._rest.size
        return float(np.sqrt(energy / samples)) if samples else 0.0

    def active_rms(self) -> float:
        """Active level of all samples. Call it once, after the last :meth:`push`."""
        if self._rest.size:
            self._add(self._rest)
            self._rest = np.zeros(0)
        power = self._energy / self._samples if self._samples else 0.0
        if power == 0.0:
            return 0.0
        # One threshold every 6.02 dB, from the maximum of the envelope down to far below it.
        thresholds = max(self._top, 1e-20) * 2.0 ** -np.arange(1, 18)
        return _read_ladder(power, thresholds.tolist(), self._activities(thresholds))

    def _add(self, part: np.ndarray) -> None:
        """Add ``_length`` samples, or fewer at the end, to the energy and the envelope."""
        self._energy += float(np.sum(np.square(part, dtype=np.float64)))
        self._samples += part.size
        smooth, self._smoothing = smooth_envelope(part, self._pole, self._smoothing)
        envelope = smooth[:: self._step]
        self._top = max(self._top, float(envelope.max()))
        self._envelope.write(envelope.astype(np.float64).tobytes())

    def _activities(self, thresholds: np.ndarray) -> list[float]:
        """Per threshold, the fraction of time that the envelope is above it, with the hangover."""
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
