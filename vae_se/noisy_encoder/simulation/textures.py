"""Granular textures: rain, drops, gravel, crackling fire, applause. Many small events that arrive at random.

Each is a marked Poisson process: onsets at a rate, an amplitude per event, and a few kinds of grain that the
events are convolved with (Schwarz, State of the art in sound texture synthesis, 2011). With a low rate the
grains are heard one by one; with a high one the sound becomes a steady noise, whose statistics over time still
differ from Gaussian noise's (McDermott and Simoncelli, Sound texture perception via statistics of the auditory
periphery, 2011).
"""

from __future__ import annotations

import math

import numpy as np

from .primitives import (
    band_noise,
    chance,
    control,
    convolve,
    impulses,
    log_uniform,
    poisson_times,
    renewal_times,
)

_KINDS = 8  # grains of different kinds in one texture


def damped_sine(rate: int, hertz: float, decay: float, rise: float = 0.0) -> np.ndarray:
    """A sinusoid at ``hertz`` with time constant ``decay`` in seconds; ``rise``: relative rise of its pitch a
    second."""
    t = np.arange(int(6 * decay * rate) + 16) / rate
    return np.asarray(np.sin(2 * math.pi * hertz * (t + 0.5 * rise * t * t)) * np.exp(-t / decay))


def noise_grain(random: np.random.Generator, rate: int, hertz: float, width: float, decay: float) -> np.ndarray:
    """A burst of noise of ``width`` octaves around ``hertz``, decaying with time constant ``decay`` in
    seconds."""
    n = int(6 * decay * rate) + 16
    noise = band_noise(random, n, rate, hertz * 2 ** (-width / 2), min(hertz * 2 ** (width / 2), 0.49 * rate))
    return np.asarray(noise * np.exp(-np.arange(n) / (rate * decay)))


def drawn_grain(
    random: np.random.Generator,
    rate: int,
    hertz: tuple[float, float],
    octaves: tuple[float, float],
    decay: tuple[float, float],
) -> np.ndarray:
    """A noise grain whose centre, width and decay are drawn from these ranges: log-uniform, uniform and
    log-uniform."""
    return noise_grain(
        random, rate, log_uniform(random, *hertz), random.uniform(*octaves), log_uniform(random, *decay)
    )


def scatter(
    samples: int,
    rate: int,
    random: np.random.Generator,
    per_second: float,
    spread_db: float,
    grains: list[np.ndarray],
    depth_db: float = 0.0,
) -> np.ndarray:
    """Poisson events, ``per_second`` in all, of equally likely ``grains`` with log-normal amplitudes.

    ``depth_db``: standard deviation of a slow course (0.3 to 3 s) of the level of all events.
    """
    out, seconds = np.zeros(samples), samples / rate
    course = depth_db * control(random, samples, rate, log_uniform(random, 0.3, 3.0))
    for grain in grains:
        times = poisson_times(random, seconds, per_second / len(grains))
        size = 10 ** (spread_db * random.standard_normal(times.size) / 20) * random.choice(
            [-1.0, 1.0], times.size
        )
        train = impulses(samples, rate, times, size) * 10 ** (course / 20)
        out += convolve(train, grain / np.linalg.norm(grain))
    return out


def rain(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Rain and pouring water: 20 to 4000 drops a second, bubbles and splashes, over a steady wash.

    A bubble of radius r mm rings at 3260 / r Hz (Minnaert, On musical air-bubbles, 1933): 0.5 to 5 mm give 650
    to 6500 Hz; it decays in 1 to 15 ms while its pitch may rise (van den Doel, Physically based models for
    liquid sounds, 2005). Splashes are bursts of noise of 1 to 8 ms.
    """
    grains = []
    for _ in range(_KINDS):
        if chance(random, 0.5):
            hertz = 3260 / log_uniform(random, 0.5, 5.0)
            grains.append(damped_sine(rate, hertz, log_uniform(random, 1e-3, 1.5e-2), random.uniform(0, 8)))
        else:
            grains.append(drawn_grain(random, rate, (800, 6000), (0.5, 3), (1e-3, 8e-3)))
    drops = scatter(
        samples, rate, random, log_uniform(random, 20, 4000), random.uniform(3, 9), grains, random.uniform(0, 4)
    )
    wash = band_noise(random, samples, rate, log_uniform(random, 100, 1500), 7900, random.uniform(-5, 1))
    size = 10 ** (random.uniform(-30, 0) / 20) * np.linalg.norm(drops) / np.linalg.norm(wash)
    return drops + size * wash


def gravel(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Crunching, rustling, frying, plastic bags: 30 to 3000 grains a second in bursts of movement.

    Grains are noise of half to two octaves around 0.5 to 7 kHz with decays of 0.5 to 6 ms. The rate is
    modulated by steps or strokes: a gate of 0.1 to 1 s (one in two), or a slow course (the others).
    """
    grains = [drawn_grain(random, rate, (500, 7000), (0.5, 2), (5e-4, 6e-3)) for _ in range(_KINDS)]
    spread = random.uniform(4, 10)
    out = scatter(samples, rate, random, log_uniform(random, 30, 3000), spread, grains, random.uniform(1, 6))
    if chance(random, 0.5):
        times = renewal_times(random, samples / rate, log_uniform(random, 0.2, 1.5), random.uniform(0.05, 0.5))
        stroke = np.hanning(max(8, int(rate * log_uniform(random, 0.1, 0.8))))
        gate = convolve(impulses(samples, rate, times, np.ones(times.size)), stroke)
        out = out * (np.clip(gate, 0, 1) + 10 ** (-random.uniform(15, 50) / 20))
    return out


def crackle(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Fire, vinyl, sparks, a bad contact: 1 to 60 clicks a second with Pareto amplitudes over a low roar.

    Amplitudes have a tail exponent of 1.2 to 3, so that a few clicks carry most of the power; clicks last 0.2
    to 6 ms. The roar lies below 100 to 800 Hz, 40 to 0 dB below the clicks.
    """
    out, seconds = np.zeros(samples), samples / rate
    per_second, tail = log_uniform(random, 1, 60), random.uniform(1.2, 3.0)
    for _ in range(4):
        times = poisson_times(random, seconds, per_second / 4)
        size = (1 + random.pareto(tail, times.size)).clip(max=100) * random.choice([-1.0, 1.0], times.size)
        grain = drawn_grain(random, rate, (400, 7000), (1, 4), (2e-4, 6e-3))
        out += convolve(impulses(samples, rate, times, size), grain / np.linalg.norm(grain))
    roar = band_noise(random, samples, rate, 20, log_uniform(random, 100, 800), -3)
    roar = roar * 10 ** (4 * control(random, samples, rate, 0.3) / 20)
    reference = max(float(np.linalg.norm(out)), 1.0)
    return out + 10 ** (random.uniform(-40, 0) / 20) * reference / np.linalg.norm(roar) * roar


def applause(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """2 to 80 people who clap 2 to 5 times a second, each with a hand shape and a distance of their own.

    A clap is noise around 0.5 to 3 kHz with a decay of 3 to 15 ms (Repp, The sound of two hands clapping,
    1987); intervals vary by 5 % within a person (Peltola et al., Synthesis of hand clapping sounds, 2007).
    """
    out, seconds = np.zeros(samples), samples / rate
    people = round(log_uniform(random, 2, 80))
    claps = [drawn_grain(random, rate, (500, 3000), (0.7, 2.5), (3e-3, 1.5e-2)) for _ in range(_KINDS)]
    trains = np.zeros((_KINDS, samples))
    for person in range(people):
        times = renewal_times(random, seconds, 1 / random.uniform(2, 5), 0.05)
        level = 10 ** ((-random.uniform(0, 15) + 2 * random.standard_normal(times.size)) / 20)
        trains[person % _KINDS] += impulses(samples, rate, times, level)
    for train, clap in zip(trains, claps, strict=True):
        out += convolve(train, clap / np.linalg.norm(clap))
    return out * 10 ** (random.uniform(0, 4) * control(random, samples, rate, 2.0) / 20)
