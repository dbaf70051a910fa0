"""Voices in the background, made from clean speech: one to three talkers, or a crowd, at a distance.

No recording of noise is needed: the talkers are other cuts of the training speech. Distance takes high
frequencies (off-axis talkers, doors, air), adds reverberation, and hides single words in a crowd.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .primitives import chance, convolve, log_uniform, unit_power
from .room import draw_room

#: Returns a cut of clean speech (samples,) drawn by the generator.
Cut = Callable[[int, np.random.Generator], np.ndarray]


def distant(speech: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
    """``speech`` (samples,) as heard from afar: a low-pass of 0 to 12 dB an octave above 0.5 to 6 kHz, and a
    room.

    T60 of 0.2 to 1 s, direct sound 12 dB below the reverberation to 6 dB above.
    """
    room = draw_room(rate, random, (0.2, 1.0), (-12, 6)).response
    hertz = np.fft.rfftfreq(2048, 1 / rate)
    corner, slope = log_uniform(random, 500, 6000), random.uniform(0, 12)
    gain = 10 ** (-slope * np.maximum(np.log2(hertz.clip(min=1) / corner), 0) / 20)
    taps = np.roll(np.fft.irfft(gain), 32)[:64] * np.hanning(64)
    return convolve(speech, np.convolve(room, taps))


def talkers(samples: int, rate: int, random: np.random.Generator, cut: Cut) -> np.ndarray:
    """One to three interfering voices, near (one in three) or distant, the second and third up to 12 dB
    quieter.

    A voice may start late or end early: one in three is silent outside of a stretch of 1 s to all of the time.
    """
    out = np.zeros(samples)
    near = chance(random, 1 / 3)
    for number in range(int(random.integers(1, 4))):
        voice = np.asarray(cut(samples, random), float)
        if not near:
            voice = distant(voice, rate, random)
        if chance(random, 1 / 3):
            length = int(random.uniform(min(rate, samples), samples))
            begin = int(random.integers(0, samples - length + 1))
            keep = np.zeros(samples)
            keep[begin : begin + length] = 1
            voice = voice * keep
        out += unit_power(voice) * 10 ** (-random.uniform(0, 12) * (number > 0) / 20)
    return out


def crowd(samples: int, rate: int, random: np.random.Generator, cut: Cut) -> np.ndarray:
    """Babble of 4 to 16 voices at levels within 12 dB, all through one distance and room."""
    out = np.zeros(samples)
    for _ in range(int(random.integers(4, 17))):
        out += unit_power(np.asarray(cut(samples, random), float)) * 10 ** (-random.uniform(0, 12) / 20)
    return distant(out, rate, random)
