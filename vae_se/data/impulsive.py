"""Synthetic impulsive noise: clicks, knocks, typing and crackle, generated from a seed.

    python -m vae_se.data.impulsive FOLDER [SEED]

writes a folder of it. A low-rank noise model does not fit these noises: they are wide-band, last a few
milliseconds and occur at random times.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import lfilter

from ..rng import numpy_stream

VERSION = 1  # increase it when a sound changes: the cached folders carry this number
SECONDS = 20.0
FILES = 3  # of each kind


def _events(rng: np.random.Generator, rate: int, per_second: float) -> np.ndarray:
    """Event times of a Poisson process in samples, (K,)."""
    count = rng.poisson(per_second * SECONDS)
    return np.sort(rng.integers(0, int(SECONDS * rate), max(count, 1)))


def _place(sounds: list[tuple[int, np.ndarray]], rate: int) -> np.ndarray:
    out = np.zeros(int(SECONDS * rate))
    for start, sound in sounds:
        part = sound[: out.size - start]
        out[start : start + part.size] += part
    return out


def clicks(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Clicks of one sample to a quarter of a millisecond, as from scratched vinyl or a bad cable: (T,)."""
    sounds = []
    for start in _events(rng, rate, 8.0):
        width = int(rng.integers(1, max(2, rate // 4000)))
        sounds.append((int(start), rng.standard_normal(width) * rng.lognormal(0.0, 0.7)))
    return _place(sounds, rate)


def knocks(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Groups of two to five knocks on wood, decaying resonances between 90 and 900 Hz: (T,)."""
    t = np.arange(int(0.25 * rate)) / rate
    sounds = []
    for group in _events(rng, rate, 0.5):
        modes = rng.uniform(90, 900, 4)
        for blow in range(int(rng.integers(2, 6))):
            start = int(group + blow * rate * rng.uniform(0.15, 0.22))
            if start >= SECONDS * rate:
                break
            tone = sum(np.sin(2 * np.pi * f * t) * np.exp(-t * rng.uniform(25, 60)) for f in modes)
            hit = rng.standard_normal(t.size) * np.exp(-t * 900)
            sounds.append((start, (tone + hit) * rng.uniform(0.5, 1.0)))
    return _place(sounds, rate)


def typing(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Six keystrokes per second; press and release are band-limited noise of some milliseconds: (T,)."""
    t = np.arange(int(0.03 * rate)) / rate
    sounds = []
    for start in _events(rng, rate, 6.0):
        for delay, level in ((0.0, 1.0), (rng.uniform(0.06, 0.11), 0.4)):
            burst = rng.standard_normal(t.size) * np.exp(-t * rng.uniform(150, 350))
            # A resonance between 1.5 and 5 kHz: the case of the keyboard.
            angle, radius = 2 * np.pi * rng.uniform(1500, 5000) / rate, 0.85
            burst = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], burst)
            at = int(start + delay * rate)
            if at < SECONDS * rate:
                sounds.append((at, burst * level * rng.uniform(0.5, 1.0)))
    return _place(sounds, rate)


def crackle(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Dense small clicks of very unequal strength, as of fire or a poor radio link: (T,)."""
    out = np.zeros(int(SECONDS * rate))
    times = _events(rng, rate, 120.0)
    out[times] = rng.standard_normal(times.size) * rng.lognormal(0.0, 1.0, times.size)
    return lfilter([1.0], [1.0, -0.6], out)


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "clicks": clicks,
    "knocks": knocks,
    "typing": typing,
    "crackle": crackle,
}


def write_folder(folder: Path, seed: int = 0, rate: int = 16000) -> Path:
    """Write ``folder/<kind>/<n>.wav`` (16 bit, mono) atomically and return the folder."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    for kind, make in KINDS.items():
        (temporary / kind).mkdir(parents=True, exist_ok=True)
        for n in range(FILES):
            sound = make(numpy_stream(seed, kind, n), rate)
            # A faint noise floor, as of a microphone, so that no part is digital silence.
            sound = 0.9 * sound / np.abs(sound).max()
            sound += 1e-4 * numpy_stream(seed, kind, n, "floor").standard_normal(sound.size)
            sf.write(temporary / kind / f"{n}.wav", sound, rate, "PCM_16")
    try:
        temporary.rename(folder)
    except OSError:
        # Another process has written the same files meanwhile.
        shutil.rmtree(temporary)
        if not folder.is_dir():
            raise
    return folder


if __name__ == "__main__":
    write_folder(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
