"""Machines: engines, fans and propellers, motors and drills, mains hum, vehicles that pass by.

Rotation makes harmonics of one fundamental, which wanders with load; exhausts and housings colour them with
resonances; turbulence adds broadband noise, whose level follows the blades or the cylinders.
"""

from __future__ import annotations

import math

import numpy as np

from .primitives import band_noise, chance, control, log_uniform, phase_of, shaped_noise, wave_table


def _resonances(
    random: np.random.Generator, hertz: np.ndarray, count: int, low: float, high: float
) -> np.ndarray:
    """A gain in dB at ``hertz``: ``count`` bells of 5 to 25 dB between ``low`` and ``high`` Hz."""
    gain = np.zeros_like(hertz)
    for _ in range(count):
        centre, width = log_uniform(random, low, high), random.uniform(0.1, 0.8)
        gain += random.uniform(5, 25) * np.exp(-0.5 * (np.log2(hertz.clip(min=1) / centre) / width) ** 2)
    return gain


def _harmonics(
    random: np.random.Generator, fundamental: float, rate: int, slope: float, top: float
) -> np.ndarray:
    """Amplitudes of harmonics below ``top`` Hz: ``slope`` dB an octave, resonances, and 4 dB of scatter."""
    count = max(1, int(min(top, 0.45 * rate) / fundamental))
    k = np.arange(1, count + 1)
    db = slope * np.log2(k) + _resonances(random, fundamental * k, int(random.integers(1, 4)), 60, 3000)
    return np.asarray(10 ** ((db + 4 * random.standard_normal(count)) / 20))


def _wandering(
    random: np.random.Generator, samples: int, rate: int, middle: float, percent: float
) -> np.ndarray:
    """A frequency in Hz around ``middle``: log-normal, slow (0.5 to 5 s) plus a tenth of it fast (20 ms)."""
    slow = control(random, samples, rate, log_uniform(random, 0.5, 5.0))
    fast = control(random, samples, rate, 0.02)
    return np.asarray(middle * np.exp(np.clip(percent / 100 * (slow + 0.1 * fast), -0.7, 0.5)))


def engine(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A combustion engine: firing at 15 to 160 Hz, wandering by 1 to 15 %, with harmonics up to 1 to 5 kHz.

    Harmonics fall by 2 to 9 dB an octave; half orders appear (cylinders differ) 6 to 25 dB lower; broadband
    noise is modulated at the firing rate by 0 to 90 %, 30 to 0 dB below. One in three changes its speed (a
    ramp of up to an octave) within the recording.
    """
    middle = log_uniform(random, 15, 160)
    f = _wandering(random, samples, rate, middle, log_uniform(random, 1, 15))
    if chance(random, 1 / 3):
        begin, end = np.sort(random.uniform(0, samples, 2))
        ramp = np.clip((np.arange(samples) - begin) / max(end - begin, rate / 2), 0, 1)
        f = f * 2 ** (random.uniform(-1, 1) * ramp)
    phase = phase_of(f, rate)
    top = log_uniform(random, 1000, 5000)
    tone = wave_table(phase, _harmonics(random, float(f.max()), rate, -random.uniform(2, 9), top), random)
    half = wave_table(
        phase / 2, _harmonics(random, float(f.max()) / 2, rate, -random.uniform(2, 9), top), random
    )
    half *= 10 ** (-random.uniform(6, 25) / 20) * np.linalg.norm(tone) / np.linalg.norm(half)
    pulse = 1 + random.uniform(0, 0.9) * np.cos(2 * math.pi * phase)
    noise = pulse * band_noise(
        random,
        samples,
        rate,
        log_uniform(random, 40, 400),
        log_uniform(random, 1500, 7800),
        -random.uniform(2, 6),
    )
    noise *= 10 ** (-random.uniform(0, 30) / 20) * np.linalg.norm(tone) / np.linalg.norm(noise)
    load = 10 ** (random.uniform(0.5, 4) * control(random, samples, rate, 0.5) / 20)
    return np.asarray((tone + half + noise) * load)


def fan(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A fan, propeller or helicopter: noise with blade-passing tones and pulses.

    The blades pass at 8 to 400 Hz (rotation times 2 to 9 blades), constant within 0.1 to 2 %. Tones fall by 3
    to 12 dB an octave, 25 dB below to 10 dB above the noise; the noise is shaped by a tilt of -8 to 0 dB an
    octave and resonances, and modulated by the passing blades: hardly (a fan) to deeply, in sharp pulses (a
    helicopter, where the blades pass below 30 Hz).
    """
    passing = log_uniform(random, 8, 400)
    f = _wandering(random, samples, rate, passing, log_uniform(random, 0.1, 2))
    phase = phase_of(f, rate)
    hertz = np.linspace(0, rate / 2, 1025)
    tilt = random.uniform(-8, 0) * np.log2(hertz.clip(min=60) / 500)
    noise = shaped_noise(
        random, samples, rate, tilt + _resonances(random, hertz, int(random.integers(1, 5)), 80, 6000)
    )
    sharp = random.uniform(1, 8)
    depth = random.uniform(0.3, 1.0) if passing < 30 else random.uniform(0, 0.4)
    beat = (0.5 + 0.5 * np.cos(2 * math.pi * phase)) ** sharp
    noise = noise * (1 - depth + depth * beat / beat.mean())
    tone = wave_table(phase, _harmonics(random, float(f.max()), rate, -random.uniform(3, 12), 4000), random)
    blades = int(random.integers(2, 10))
    tone = tone * (1 + random.uniform(0, 0.3) * np.cos(2 * math.pi * phase / blades))
    size = 10 ** (random.uniform(-25, 10) / 20) * np.linalg.norm(noise) / np.linalg.norm(tone)
    return np.asarray(noise + size * tone)


def motor(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """An electric motor: drill, mixer, razor, vacuum cleaner, tram. A whine of 100 to 2500 Hz over brush noise.

    The speed rises from a half within 0.1 to 1 s when switched on (one in three is switched on and off, 0.5 to
    4 s each) and sags by 1 to 10 % with load. Harmonics fall by 1 to 10 dB an octave; noise lies 20 dB below to
    10 dB above.
    """
    f = _wandering(random, samples, rate, log_uniform(random, 100, 2500), log_uniform(random, 0.3, 10))
    gate = np.ones(samples)
    if chance(random, 1 / 3):
        edges = np.cumsum(np.exp(random.uniform(math.log(0.5), math.log(4), int(2 * samples / rate) + 4)))
        on = (np.searchsorted(edges, np.arange(samples) / rate) + random.integers(2)) % 2
        on = on if on.any() else 1 - on
        width = min(samples, max(2, int(rate * log_uniform(random, 0.1, 1.0))))
        total = np.concatenate([np.zeros(width), np.cumsum(on.astype(float))])
        gate = (total[width:] - total[:-width]) / width
        gate[:width] *= width / np.arange(1, width + 1)
        f = f * (0.5 + 0.5 * gate)
    tone = wave_table(
        phase_of(f, rate), _harmonics(random, float(f.max()), rate, -random.uniform(1, 10), 7500), random
    )
    noise = band_noise(
        random,
        samples,
        rate,
        log_uniform(random, 100, 1000),
        log_uniform(random, 3000, 7900),
        random.uniform(-5, 2),
    )
    noise *= 10 ** (random.uniform(-20, 10) / 20) * np.linalg.norm(tone) / np.linalg.norm(noise)
    return np.asarray((tone + noise) * gate**1.5)


def hum(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Mains hum and buzz: 50 or 60 Hz within 0.1 %, 3 to 60 harmonics, over a quiet hiss.

    Harmonics fall by 1 to 8 dB an octave; even ones (full-wave rectifiers, transformers) are raised by up to
    15 dB. The hiss lies 40 to 5 dB below.
    """
    mains = float(random.choice([50.0, 60.0]))
    f = _wandering(random, samples, rate, mains, 0.05)
    count = min(round(log_uniform(random, 3, 60)), int(0.45 * rate / mains))
    k = np.arange(1, count + 1)
    db = (
        -random.uniform(1, 8) * np.log2(k)
        + random.uniform(0, 15) * (k % 2 == 0)
        + 5 * random.standard_normal(count)
    )
    tone = wave_table(phase_of(f, rate), 10 ** (db / 20), random)
    hiss = band_noise(random, samples, rate, 100, 7900, random.uniform(-4, 2))
    size = 10 ** (-random.uniform(5, 40) / 20) * np.linalg.norm(tone) / np.linalg.norm(hiss)
    return tone + size * hiss


def passing(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A vehicle that passes: tyre and engine noise whose level and pitch follow the distance.

    At 4 to 30 m/s and 3 to 30 m of closest distance, the level falls with the distance squared, high
    frequencies somewhat more, and pitch shifts by Doppler's formula. One to three vehicles in a recording of 8
    s.
    """
    out, t = np.zeros(samples), np.arange(samples) / rate
    for _ in range(int(random.integers(1, 4))):
        speed, distance = log_uniform(random, 4, 30), log_uniform(random, 3, 30)
        along = speed * (t - random.uniform(-0.5, t[-1] + 0.5))
        reach = np.hypot(along, distance)
        doppler = 1 / (1 + speed / 343 * along / reach)
        near = distance / reach
        low = band_noise(random, samples, rate, 30, log_uniform(random, 300, 1200), -random.uniform(1, 5))
        high = band_noise(random, samples, rate, log_uniform(random, 600, 1500), 6000, -random.uniform(2, 7))
        f = log_uniform(random, 25, 120) * doppler
        tone = wave_table(
            phase_of(f, rate), _harmonics(random, float(f.max()), rate, -random.uniform(4, 10), 2500), random
        )
        tone *= 10 ** (random.uniform(-25, 3) / 20) * np.linalg.norm(low) / np.linalg.norm(tone)
        high *= random.uniform(0.3, 2) * np.linalg.norm(low) / np.linalg.norm(high)
        out += 10 ** (-random.uniform(0, 8) / 20) * ((low + tone) * near + high * near**1.5)
    return out + 10 ** (-random.uniform(15, 40) / 20) * np.std(out) * band_noise(
        random, samples, rate, 50, 4000, -4
    )
