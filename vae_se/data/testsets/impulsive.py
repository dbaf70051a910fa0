"""Speech with clicks, knocks, typing and crackle: noises that no low-rank spectrogram describes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..impulsive import VERSION, write_folder
from ..mixing import draw_all
from .base import TestSet, adapter, need
from .mixing import Options as MixingOptions
from .mixing import from_draws


@dataclass(frozen=True)
class Options(MixingOptions):
    """As for ``mixing``; ``noise`` is left to the generator, ``noise_seed`` is its seed."""

    noise: str = ""
    noise_seed: int = 0


def cache_folder() -> Path:
    """Where generated noise is kept: ``$XDG_CACHE_HOME/vae-se`` or ``~/.cache/vae-se``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae-se"


@adapter("impulsive", Options, source="this package, which makes the noise; any clean speech", licence="MIT")
def build(options: Options, data_root: Path) -> TestSet:
    """Generates the noise (once a seed) and mixes it like any other."""
    speech = need("impulsive", data_root / options.speech)
    folder = cache_folder() / f"impulsive-{VERSION}-{options.rate}-{options.noise_seed}"
    if not folder.is_dir():
        write_folder(folder, options.noise_seed, options.rate)
    recipe = options.recipe()
    draws = list(draw_all(recipe, speech, folder))
    return from_draws("impulsive", recipe, draws, speech, folder)
