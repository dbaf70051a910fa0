"""Speech with synthetic clicks, knocks, typing and crackle, which are not low-rank."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..impulsive import VERSION, write_folder
from ..mixing import draw_all
from .base import TestSet, adapter, need
from .mixing import MixingOptions, from_draws


@dataclass(frozen=True)
class ImpulsiveOptions(MixingOptions):
    """As for ``mixing``, but the noise is generated with ``noise_seed``; ``noise`` has no effect."""

    noise: str = ""
    noise_seed: int = 0


def cache_folder() -> Path:
    """The folder of generated noise: ``$XDG_CACHE_HOME/vae-se`` or ``~/.cache/vae-se``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae-se"


@adapter(
    "impulsive", ImpulsiveOptions, source="any clean speech; this package generates the noise", licence="MIT"
)
def build(options: ImpulsiveOptions, data_root: Path) -> TestSet:
    """Generate the noise, once per seed, and mix it with the speech."""
    speech = need("impulsive", data_root / options.speech)
    folder = cache_folder() / f"impulsive-{VERSION}-{options.rate}-{options.noise_seed}"
    if not folder.is_dir():
        write_folder(folder, options.noise_seed, options.rate)
    recipe = options.recipe()
    draws = list(draw_all(recipe, speech, folder))
    return from_draws("impulsive", recipe, draws, speech, folder)
