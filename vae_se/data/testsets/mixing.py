"""Mixtures of a folder of speech and a folder of noise, drawn by a recipe or reproduced from a manifest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from ...errors import UsageError
from ..manifest import read_manifest, write_manifest
from ..mixing import Draw, MixingRecipe, draw_all, render
from ..mixture import Mixture
from .base import TestSet, adapter, need


@dataclass(frozen=True)
class MixingOptions(MixingRecipe):
    """A :class:`MixingRecipe`, its two folders, and optionally a ``manifest`` whose draws are used instead."""

    speech: str = "speech/valid"
    noise: str = "noise"
    manifest: str = ""

    def recipe(self) -> MixingRecipe:
        """The part of the options that determines the draws."""
        return MixingRecipe(**{item.name: getattr(self, item.name) for item in fields(MixingRecipe)})


@dataclass(frozen=True)
class MixingEntry:
    """A draw, with the folders of its sources."""

    draw: Draw
    speech: Path
    noise: Path

    @property
    def id(self) -> str:
        return self.draw.id

    @property
    def snr_db(self) -> float:
        return self.draw.snr_db

    @property
    def noise_type(self) -> str:
        return self.draw.noise_type

    @property
    def identity(self) -> str:
        return self.draw.rendered_sha256

    def load(self) -> Mixture:
        """Render the mixture and check it against the digests of the draw."""
        return render(self.draw, self.speech, self.noise)


def from_draws(name: str, recipe: MixingRecipe, draws: list[Draw], speech: Path, noise: Path) -> TestSet:
    """A test set of draws, which can write its manifest."""
    entries = tuple(MixingEntry(draw, speech, noise) for draw in draws)
    return TestSet(name, entries, write_manifest=partial(write_manifest, recipe=recipe, draws=draws))


@adapter("mixing", MixingOptions, source="any folder of clean speech and any folder of noise", licence="theirs")
def build(options: MixingOptions, data_root: Path) -> TestSet:
    """Draw the mixtures, or read them from the manifest; audio is rendered when an entry is loaded."""
    speech = need("mixing", data_root / options.speech)
    noise = need("mixing", data_root / options.noise)
    if options.manifest:
        path = data_root / options.manifest
        if not path.is_file():
            raise UsageError(f"no manifest {path}", "a relative path is relative to the data root")
        recipe, draws = read_manifest(path)
    else:
        recipe = options.recipe()
        draws = list(draw_all(recipe, speech, noise))
    return from_draws("mixing", recipe, draws, speech, noise)
