"""Building blocks of the simulated noises: random numbers, events, control curves, filters and wave tables.

Conventions of this package: a simulator is a function ``f(samples, rate, random)`` that returns a waveform
(samples,) of arbitrary level; ``random`` is a ``numpy.random.Generator`` and the only source of randomness.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

_CONTROL_RATE = 200.0  # points per second of slowly varying parameters


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, uniform in its logarithm."""
    return float(math.exp(random.uniform(math.log(low), math.log(high))))


def chance(random: np.random.Generator, probability: float) -> bool:
    """True with ``probability``."""
    return bool(random.random() < probability)


def unit_power(waveform: np.ndarray) -> np.ndarray:
    """``waveform`` scaled to a mean square of 1; silence stays silence."""
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    return waveform / math.sqrt(power) if power > 0 else waveform


def poisson_times(random: np.random.Generator, seconds: float, per_second: float) -> np.ndarray:
    """Event times in seconds of a homogeneous Poisson process, sorted; possibly none."""
    return np.sort(random.uniform(0, seconds, random.poisson(per_second * seconds)))


def renewal_times(
    random: np.random.Generator, seconds: float, interval: float, spread: float, start: float | None = None
) -> np.ndarray:
    """Event times with independent log-normal intervals of median ``interval`` seconds.

    ``spread`` is the standard deviation of the interval's logarithm: 0.03 is a machine, 0.5 a typist.
    """
    count = int(2 * seconds / interval) + 8
    intervals = interval * np.exp(spread * random.standard_normal(count))
    begin = random.uniform(0, interval) if start is None else start
    times = begin + np.concatenate([[0.0], np.cumsum(intervals)])
    return times[times < seconds]


def impulses(samples: int, rate: int, times: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """A waveform (samples,) with ``amplitudes`` at ``times`` in seconds, zero elsewhere."""
    position = np.round(np.asarray(times) * rate).astype(int)
    inside = (position >= 0) & (position < samples)
    return np.bincount(position[inside], np.asarray(amplitudes, float)[inside], minlength=samples)[:samples]


def convolve(excitation: np.ndarray, response: np.ndarray) -> np.ndarray:
    """``excitation`` filtered by a finite ``response``, cut to the length of ``excitation``."""
    size = next_fast_len(excitation.size + response.size - 1, real=True)
    return irfft(rfft(excitation, size) * rfft(response, size), size)[: excitation.size]


def shaped_noise(random: np.random.Generator, samples: int, rate: int, gain_db: np.ndarray) -> np.ndarray:
    """Gaussian noise whose spectrum follows ``gain_db``, given at equidistant frequencies from 0 to rate /
    2."""
    size = next_fast_len(samples, real=True)
    spectrum = rfft(random.standard_normal(size))
    hertz = np.linspace(0, 1, gain_db.size)
    gain = np.interp(np.linspace(0, 1, spectrum.size), hertz, 10 ** (gain_db / 20))
    return irfft(spectrum * gain, size)[:samples]


def band_noise(
    random: np.random.Generator, samples: int, rate: int, low: float, high: float, tilt: float = 0.0
) -> np.ndarray:
    """Gaussian noise between ``low`` and ``high`` Hz, ``tilt`` dB an octave inside, 24 dB an octave outside."""
    hertz = np.linspace(0, rate / 2, 1025).clip(min=4.0)
    octaves = np.log2(hertz / math.sqrt(low * high))
    gain = tilt * octaves - 24 * np.maximum(np.log2(low / hertz), 0) - 24 * np.maximum(np.log2(hertz / high), 0)
    return shaped_noise(random, samples, rate, gain.clip(-100, None))


def control(random: np.random.Generator, samples: int, rate: int, time_constant: float) -> np.ndarray:
    """A stationary Gaussian course (samples,) of unit variance with correlation exp(-t / ``time_constant``).

    An Ornstein-Uhlenbeck process at 200 points a second, linear in between.
    """
    points = int(samples / rate * _CONTROL_RATE) + 2
    pole = math.exp(-1 / (_CONTROL_RATE * time_constant))
    white = random.standard_normal(points) * math.sqrt(1 - pole * pole)
    white[0] /= math.sqrt(1 - pole * pole)
    course = lfilter([1.0], [1.0, -pole], white)
    return np.interp(np.arange(samples) * (_CONTROL_RATE / rate), np.arange(points), course)


def phase_of(frequency: np.ndarray, rate: int, start: float = 0.0) -> np.ndarray:
    """Phase in cycles of an oscillator with instantaneous ``frequency`` in Hz (samples,)."""
    return start + np.cumsum(frequency) / rate


def wave_table(
    phase: np.ndarray, amplitudes: np.ndarray, random: np.random.Generator, points: int = 4096
) -> np.ndarray:
    """A periodic sound: harmonic k has ``amplitudes[k - 1]`` and a random phase; ``phase`` is in cycles.

    The caller keeps ``len(amplitudes)`` times the highest frequency below the Nyquist frequency.
    """
    spectrum = np.zeros(points // 2 + 1, complex)
    angle = random.uniform(0, 2 * math.pi, len(amplitudes))
    spectrum[1 : len(amplitudes) + 1] = np.asarray(amplitudes) * np.exp(1j * angle) * (points / 2)
    table = np.fft.irfft(spectrum, points)
    return table[(phase * points).astype(np.int64) % points]


def envelope(samples: int, rate: int, start: float, attack: float, hold: float, decay: float) -> np.ndarray:
    """Raised-cosine attack, hold, exponential decay with time constant ``decay``; seconds; 0 before
    ``start``."""
    t = np.arange(samples) / rate - start
    rise = 0.5 - 0.5 * np.cos(math.pi * np.clip(t / max(attack, 1e-4), 0, 1))
    fall = np.exp(-np.maximum(t - attack - hold, 0) / max(decay, 1e-4))
    return rise * fall
