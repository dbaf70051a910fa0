"""Room responses from the exponential-decay model: direct sound, a few early reflections, a diffuse tail.

The tail is Gaussian noise with an exponential envelope (Polack, La transmission de l'energie sonore dans les
salles, 1988), which reaches -60 dB after T60; high frequencies decay faster, as air and soft walls absorb them.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .primitives import band_noise, log_uniform

EARLY = 0.05  # seconds after the direct sound that still count as speech


@dataclasses.dataclass(frozen=True)
class Room:
    """``early`` (direct sound and the first 50 ms) and ``late`` (the rest) of a response, both (taps,).

    The direct sound has size 1 and no delay; ``t60`` in seconds.
    """

    early: np.ndarray
    late: np.ndarray
    t60: float

    @property
    def response(self) -> np.ndarray:
        """The whole response (taps,)."""
        return self.early + self.late


def draw_room(
    rate: int,
    random: np.random.Generator,
    t60: tuple[float, float] = (0.1, 0.8),
    direct_db: tuple[float, float] = (-6, 12),
) -> Room:
    """A random room: T60 log-uniform in ``t60`` seconds, direct-to-reverberant ratio uniform in ``direct_db``.

    0.1 to 0.8 s are those of furnished rooms (a car 0.1, living rooms 0.3 to 0.5, a stairwell above); -6 dB is
    a talker beyond the critical distance. Above 2 kHz the tail decays 1.1 to 2.5 times as fast. 2 to 8 early
    reflections arrive 1 to 30 ms after the direct sound.
    """
    time = log_uniform(random, *t60)
    taps = int(rate * min(time, 1.0))
    t = np.arange(taps) / rate
    faster = random.uniform(1.1, 2.5)
    tail = np.zeros(taps)
    for low, high, seconds in ((60.0, 2000.0, time), (2000.0, 0.49 * rate, time / faster)):
        tail += band_noise(random, taps, rate, low, high) * np.exp(-3 * math.log(10) * t / seconds)
    tail[: int(random.uniform(0.001, 0.008) * rate)] = 0  # nothing is heard before the first reflection
    for _ in range(int(random.integers(2, 9))):
        delay = int(log_uniform(random, 0.001, 0.03) * rate)
        if delay < taps:
            tail[delay] += random.choice([-1.0, 1.0]) * 10 ** (-random.uniform(0, 12) / 20) * np.abs(tail).max()
    tail *= 10 ** (-random.uniform(*direct_db) / 20) / max(float(np.linalg.norm(tail)), 1e-12)
    edge = int(EARLY * rate)
    early, late = tail.copy(), tail.copy()
    early[edge:], late[:edge] = 0, 0
    early[0] += 1.0
    return Room(early, late, time)
