"""The classes of simulated noise by name, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import air, impacts, machines, textures, tonal

Simulator = Callable[[int, int, np.random.Generator], np.ndarray]

#: Simulators that need nothing but random numbers.
SIMULATORS: dict[str, Simulator] = {
    "clatter": impacts.clatter, "typing": impacts.typing, "footsteps": impacts.footsteps,
    "knocks": impacts.knocks, "scrape": impacts.scrape, "rain": textures.rain, "gravel": textures.gravel,
    "crackle": textures.crackle, "applause": textures.applause, "engine": machines.engine,
    "fan": machines.fan, "motor": machines.motor, "hum": machines.hum, "passing": machines.passing,
    "wind": air.wind, "whistle": air.whistle, "birds": tonal.birds, "insects": tonal.insects,
    "alarm": tonal.alarm, "music": tonal.music,
}  # fmt: skip

#: The draw from the noise model itself (model_noise.py), which needs a prior.
MODEL = "model"

#: Relative frequency of the classes in a pool; voices are mixed in later, from the speech of the training.
WEIGHTS = {
    MODEL: 8.0, "clatter": 4.0, "typing": 2.0, "footsteps": 1.5, "knocks": 1.5, "scrape": 2.0, "rain": 2.0,
    "gravel": 2.0, "crackle": 1.5, "applause": 1.0, "engine": 2.5, "fan": 2.5, "motor": 2.0, "hum": 1.0,
    "passing": 1.5, "wind": 2.0, "whistle": 1.0, "birds": 1.5, "insects": 1.0, "alarm": 1.0, "music": 3.0,
}  # fmt: skip


def simulate(name: str, samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """A waveform (samples,) of class ``name`` with unit power; KeyError for an unknown name."""
    from .primitives import unit_power

    return unit_power(SIMULATORS[name](samples, rate, random))
