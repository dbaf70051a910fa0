"""Impacts and scrapes by modal synthesis: dishes, keys, footsteps, doors, knocks, things dragged along.

A struck object rings in its modes: a sum of sinusoids, each with a decay of its own. Frequencies follow the
object's shape, decays its material. For internal friction tan(phi), a mode at f Hz decays with the time
constant 1 / (pi f tan(phi)) (Wildes and Richards, Recovering material properties from sound, 1988; Klatzky,
Pai and Krotkov, Perception of material from contact sounds, 2000); the support adds a loss that does not
depend on f (van den Doel and Pai, The sounds of physical shapes, 1998). The force of the blow is a pulse of
0.2 to 8 ms, shorter for harder contacts, and acts as a low-pass filter.
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

#: tan(phi), the coefficient of internal friction, by material: ranges around the published values.
MATERIALS = {
    "steel": (3e-4, 1.5e-3), "glass": (8e-4, 3e-3), "ceramic": (1e-3, 5e-3), "wood": (8e-3, 3e-2),
    "plastic": (2e-2, 8e-2),
}  # fmt: skip


def mode_frequencies(random: np.random.Generator, lowest: float, count: int) -> np.ndarray:
    """``count`` frequencies in Hz from ``lowest`` on: of a free bar, a plate or a string, each 1.5 % off."""
    n = np.arange(1, count + 1, dtype=float)
    shape = random.integers(3)
    if shape == 0:  # free bar: (2 n + 1)^2
        ratio = ((2 * n + 1) / 3) ** 2
    elif shape == 1:  # supported rectangular plate: m^2 + a n^2, sorted
        aspect = random.uniform(0.3, 1.0)
        grid = (n[:, None] ** 2 + aspect * n**2).ravel()
        ratio = np.sort(grid)[:count] / (1 + aspect)
    else:  # stiff string or thin rod: harmonics, stretched
        ratio = n * np.sqrt(1 + 3e-3 * n * n)
    return lowest * ratio * (1 + 0.015 * random.standard_normal(count))


def modal_response(
    random: np.random.Generator, rate: int, frequencies: np.ndarray, friction: float, support: float
) -> np.ndarray:
    """The response to a blow: damped sinusoids at ``frequencies`` below 0.47 of the rate.

    ``friction``: tan(phi); ``support``: time constant in seconds of the loss to whatever holds the object.
    Amplitudes are log-normal (6 dB) and fall by 0 to 6 dB an octave. 1.5 s at most.
    """
    f = frequencies[(frequencies < 0.47 * rate) & (frequencies > 20)]
    if not f.size:
        f = np.array([0.3 * rate])
    decay = 1 / (1 / support + math.pi * f * friction)
    t = np.arange(int(rate * min(1.5, 6 * decay.max())) + 64) / rate
    db = 6 * random.standard_normal(f.size) - random.uniform(0, 6) * np.log2(f / f[0])
    amplitude = 10 ** (db / 20)
    angle = 2 * math.pi * np.outer(f, t) + random.uniform(0, 2 * math.pi, (f.size, 1))
    return np.asarray((amplitude[:, None] * np.exp(-t / decay[:, None]) * np.sin(angle)).sum(0))


def contact(random: np.random.Generator, rate: int, seconds: float) -> np.ndarray:
    """The force of one blow: a raised-cosine pulse of ``seconds`` with a fifth to all of its size of
    roughness."""
    n = max(2, round(seconds * rate))
    pulse = 1 - np.cos(2 * math.pi * (np.arange(n) + 0.5) / n)
    rough = random.standard_normal(n) * random.uniform(0.2, 1.0)
    return pulse * (1 + rough) / n


def bounces(random: np.random.Generator, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and amplitudes of an object that falls and bounces: both shrink by the restitution coefficient."""
    restitution, first = random.uniform(0.4, 0.85), log_uniform(random, 0.05, 0.35)
    k = np.arange(int(random.integers(1, 12)))
    times = start + first * (1 - restitution**k) / (1 - restitution)
    return times, restitution**k


def _struck(
    samples: int,
    rate: int,
    random: np.random.Generator,
    times: np.ndarray,
    amplitudes: np.ndarray,
    response: np.ndarray,
    hardness: tuple[float, float],
) -> np.ndarray:
    """``response`` after blows at ``times``; the contact lasts ``hardness`` seconds (range)."""
    force = contact(random, rate, log_uniform(random, *hardness))
    return convolve(
        impulses(samples, rate, times, amplitudes), convolve(np.pad(response, (0, force.size)), force)
    )


def clatter(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Dishes, cutlery, keys, tools: 2 to 6 objects of one material, struck at random and bouncing.

    Lowest mode 200 to 4000 Hz (a pot to a key), 8 to 24 modes, support 20 ms to 0.8 s (in a hand, on a table,
    free), contact 0.2 to 2 ms, 0.4 to 6 blows a second in clusters, levels log-normal with 6 dB.
    """
    seconds, out = samples / rate, np.zeros(samples)
    material = MATERIALS[str(random.choice(["steel", "glass", "ceramic", "wood", "plastic"]))]
    per_second = log_uniform(random, 0.4, 6.0)
    for _ in range(int(random.integers(2, 7))):
        lowest = log_uniform(random, 200, 4000)
        frequencies = mode_frequencies(random, lowest, int(random.integers(8, 25)))
        response = modal_response(
            random, rate, frequencies, log_uniform(random, *material), log_uniform(random, 0.02, 0.8)
        )
        response /= np.linalg.norm(response)
        times, amplitudes = [], []
        for start in poisson_times(random, seconds, per_second / 3):
            t, a = bounces(random, start)
            times.append(t)
            amplitudes.append(a * 10 ** (6 * random.standard_normal() / 20))
        if times:
            out += _struck(
                samples, rate, random, np.concatenate(times), np.concatenate(amplitudes), response, (2e-4, 2e-3)
            )
    return out


def typing(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A keyboard or mouse: log-normal intervals of 0.1 to 0.3 s (median), with a pause after 3 to 12 strokes.

    Every stroke is a press and, 50 to 130 ms later, a quieter release (6 to 14 dB): small plastic modes of 1 to
    7 kHz that decay in 1 to 8 ms, and a thump of the desk at 80 to 400 Hz. Levels vary by 3 dB.
    """
    seconds = samples / rate
    times = renewal_times(random, seconds + 1.0, log_uniform(random, 0.1, 0.3), random.uniform(0.2, 0.6))
    pauses = np.where(
        random.random(times.size) < random.uniform(0.08, 0.3), random.uniform(0.3, 1.5, times.size), 0
    )
    times = times + np.cumsum(pauses)
    level = 10 ** (3 * random.standard_normal(times.size) / 20)
    release = times + random.uniform(0.05, 0.13, times.size)
    quieter = 10 ** (-random.uniform(6, 14) / 20)
    out = np.zeros(samples)
    keys = 4
    which = random.integers(keys, size=times.size)
    for key in range(keys):
        mine = which == key
        frequencies = np.sort(np.exp(random.uniform(math.log(1000), math.log(7000), 8)))
        click = modal_response(random, rate, frequencies, log_uniform(random, 0.02, 0.08), 0.008)
        click /= np.linalg.norm(click)
        hits = np.concatenate([times[mine], release[mine]])
        loud = np.concatenate([level[mine], quieter * level[mine]])
        out += _struck(samples, rate, random, hits, loud, click, (2e-4, 1.5e-3))
    thump = modal_response(random, rate, random.uniform(80, 400, 4), 0.05, log_uniform(random, 0.01, 0.04))
    thump *= random.uniform(0.2, 1.5) / np.linalg.norm(thump)
    return out + _struck(samples, rate, random, times, level, thump, (1e-3, 5e-3))


def footsteps(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Steps every 0.35 to 0.8 s (6 % jitter): heel, toe 60 to 160 ms later, and the grain of the ground.

    Heel and toe excite modes of 50 to 300 Hz (soles, floor) and, on hard floors, of 0.4 to 2 kHz; the ground
    adds a noise of 1 to 7 kHz under the same envelope, 25 dB below (carpet) to 5 dB above (gravel).
    """
    seconds, out = samples / rate, np.zeros(samples)
    heel = renewal_times(random, seconds, log_uniform(random, 0.35, 0.8), 0.06)
    toe = heel + random.uniform(0.06, 0.16)
    level = 10 ** (2 * random.standard_normal(heel.size) / 20)
    times = np.concatenate([heel, toe])
    loud = np.concatenate([level, level * random.uniform(0.2, 0.9)])
    hard = random.uniform(0, 1)
    frequencies = np.concatenate([random.uniform(50, 300, 5), random.uniform(400, 2000, 6)])
    response = modal_response(random, rate, np.sort(frequencies), log_uniform(random, 0.02, 0.1), 0.04)
    response /= np.linalg.norm(response)
    out += _struck(samples, rate, random, times, loud, response, (8e-4 + 6e-3 * (1 - hard), 9e-3))
    grain = np.exp(-np.arange(int(0.15 * rate)) / (rate * log_uniform(random, 0.01, 0.05)))
    cover = convolve(impulses(samples, rate, times, loud), grain)
    ground = band_noise(random, samples, rate, log_uniform(random, 500, 2000), log_uniform(random, 2500, 7500))
    size = (
        10 ** (random.uniform(-25, 5) / 20)
        * np.linalg.norm(out)
        / max(float(np.linalg.norm(cover * ground)), 1e-9)
    )
    return np.asarray(out + size * cover * ground)


def knocks(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Doors, drawers, hammers: groups of 1 to 6 blows, 0.12 to 0.5 s apart, 0.15 to 0.8 groups a second.

    Large wooden or metal bodies: modes from 50 to 400 Hz upwards, with a burst of broadband noise (rattle) that
    decays in 10 to 150 ms, 30 to 0 dB below the modes.
    """
    seconds = samples / rate
    material = MATERIALS[str(random.choice(["wood", "wood", "steel", "plastic"]))]
    frequencies = mode_frequencies(random, log_uniform(random, 50, 400), int(random.integers(10, 30)))
    response = modal_response(
        random, rate, frequencies, log_uniform(random, *material), log_uniform(random, 0.02, 0.25)
    )
    response /= np.linalg.norm(response)
    times, gap = [], log_uniform(random, 0.12, 0.5)
    for start in poisson_times(random, seconds, random.uniform(0.15, 0.8)):
        times.append(start + gap * np.arange(random.integers(1, 7)) + 0.01 * random.standard_normal())
    where = np.concatenate([*times, [random.uniform(0, seconds)]])
    loud = 10 ** (3 * random.standard_normal(where.size) / 20)
    out = _struck(samples, rate, random, where, loud, response, (5e-4, 8e-3))
    decay = np.exp(-np.arange(int(0.5 * rate)) / (rate * log_uniform(random, 0.01, 0.15)))
    rattle = convolve(impulses(samples, rate, where, loud), decay) * band_noise(
        random, samples, rate, 200, 6000, -3
    )
    size = 10 ** (random.uniform(-30, 0) / 20) * np.linalg.norm(out) / max(float(np.linalg.norm(rattle)), 1e-9)
    return np.asarray(out + size * rattle)


def scrape(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Dragging, wiping, paper, zips: rough noise under strokes of 0.1 to 1 s drives the modes of the object.

    The roughness noise grows brighter with the speed of the stroke (van den Doel, Kry and Pai, FoleyAutomatic,
    2001); here the bright part is weighted by the square of the envelope. One in three is nearly unresonant
    (cloth, paper).
    """
    seconds = samples / rate
    times = renewal_times(random, seconds, log_uniform(random, 0.25, 1.5), random.uniform(0.1, 0.5))
    stroke = np.hanning(max(8, int(rate * log_uniform(random, 0.1, 1.0))))
    speed = convolve(
        impulses(samples, rate, times, 10 ** (4 * random.standard_normal(times.size) / 20)), stroke
    )
    speed = np.clip(speed, 0, None) * np.exp(0.4 * control(random, samples, rate, 0.02))
    cut = log_uniform(random, 800, 4000)
    noise = speed * band_noise(random, samples, rate, 80, cut, random.uniform(-6, 0))
    noise = noise + speed**2 * band_noise(random, samples, rate, cut, 7800, random.uniform(-6, 0))
    if chance(random, 1 / 3):
        return noise
    material = MATERIALS[str(random.choice(["steel", "glass", "wood", "plastic"]))]
    frequencies = mode_frequencies(random, log_uniform(random, 150, 3000), int(random.integers(6, 20)))
    response = modal_response(
        random, rate, frequencies, log_uniform(random, *material), log_uniform(random, 0.005, 0.1)
    )
    return noise + convolve(noise, response / np.linalg.norm(response)) * random.uniform(0.5, 3)
