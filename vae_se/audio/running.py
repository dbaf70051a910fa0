"""Running active level of a stream."""

from __future__ import annotations

import numpy as np

from .level import HANGOVER, MARGIN_DB, TIME_CONSTANT, smooth_envelope

# One threshold every 6.02 dB, from -180 to +60 dB of full scale, since the maximum is not known in advance.
_THRESHOLDS = 2.0 ** np.arange(-30, 11)


#: Time constant in seconds of the exponential window of levels in a stream.
MEMORY = 60.0


class RunningLevel:
    """Active level (ITU-T P.56, method B) of the samples so far, in an exponential window.

    ``memory``: time constant of the window in seconds. The thresholds are fixed, and only a count per threshold
    is kept; those of :func:`~vae_se.audio.level.active_rms` depend on the maximum. The results differ by 0.01
    dB.
    """

    def __init__(self, rate: int, memory: float = MEMORY) -> None:
        self._rate, self._memory = rate, memory
        self._pole = np.exp(-1.0 / (rate * TIME_CONSTANT))
        self._step = max(1, rate // 1000)
        self._hang = int(HANGOVER * rate / self._step)
        self._smoothing, self._phase = np.zeros(2), 0
        self._energy = self._samples = self._counted = 0.0
        self._active = np.zeros(_THRESHOLDS.size)
        self._since = np.full(_THRESHOLDS.size, self._hang + 1)  # envelope samples since it was above

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples (T,)."""
        keep = np.exp(-samples.size / (self._rate * self._memory))
        self._energy = keep * self._energy + float(np.sum(np.square(samples, dtype=np.float64)))
        self._samples = keep * self._samples + samples.size
        smooth, self._smoothing = smooth_envelope(samples, self._pole, self._smoothing)
        envelope = smooth[self._phase :: self._step]
        self._phase = (self._phase - samples.size) % self._step
        if not envelope.size:
            return
        # Envelope samples (rows) since the envelope was above each threshold (columns).
        position = np.arange(envelope.size)[:, None]
        above = np.where(envelope[:, None] >= _THRESHOLDS, position, -1 - self._since)
        since = position - np.maximum.accumulate(above, axis=0)
        self._active = keep * self._active + np.count_nonzero(since <= self._hang, axis=0)
        self._counted = keep * self._counted + envelope.size
        self._since = np.minimum(since[-1], self._hang + 1)

    def active_rms(self) -> float:
        """Active level so far; 0.0 for silence.

        It is read at the lowest threshold that has the margin. Higher thresholds may have it as well when
        louder sound has almost left the window.
        """
        heard = int(np.count_nonzero(self._active))
        if not heard:
            return float(np.sqrt(self._energy / self._samples)) if self._samples else 0.0
        power, activity = self._energy / self._samples, self._active[:heard] / self._counted
        levels = 10 * np.log10(power / activity)
        margins = levels - 20 * np.log10(_THRESHOLDS[:heard])
        below = np.flatnonzero(margins < MARGIN_DB)
        if not below.size or below[0] == 0:
            return float(10 ** (levels[-1 if not below.size else 0] / 20))
        top = int(below[0])
        part = (margins[top - 1] - MARGIN_DB) / (margins[top - 1] - margins[top])
        return float(10 ** ((levels[top - 1] + part * (levels[top] - levels[top - 1])) / 20))
