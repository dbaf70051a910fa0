"""Manifests of mixtures: JSON lines, a header and one line per draw."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import soundfile as sf

from ..audio.resample import check_rate
from ..errors import OutputError, UsageError, VaeSeError
from ..storage.untrusted import parse_object
from .mixing import Draw, MixingRecipe
from .table import from_table

T = TypeVar("T")

FORMAT = "vae-se mixtures 1"


def library_versions(*names: str) -> dict[str, str]:
    """Versions of vae-se, libsndfile and the named distributions ("absent" where not installed)."""
    return {
        "vae-se": _version("vae-se"),
        "libsndfile": sf.__libsndfile_version__,
        **{name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def write_manifest(path: Path, recipe: MixingRecipe, draws: Iterable[Draw]) -> int:
    """Write a manifest atomically and return the number of draws. Raises OutputError on failure."""
    header = {
        "format": FORMAT,
        "recipe": asdict(recipe),
        "versions": library_versions("numpy", "scipy", "soxr", "soundfile"),
    }
    temporary = path.with_name(path.name + ".part")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(header) + "\n")
            for draw in draws:
                stream.write(json.dumps(asdict(draw)) + "\n")
                count += 1
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path}: {error}", "check the folder and the free space") from error
    return count


def read_manifest(path: Path) -> tuple[MixingRecipe, list[Draw]]:
    """The recipe and the draws of a manifest.

    Raises UsageError for a file that is not a manifest, or that names files outside of the folders of speech
    and noise.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        header = parse_object(lines[0])
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}, expected {FORMAT!r}")
        recipe = _row(MixingRecipe, header["recipe"])
        draws = [_row(Draw, parse_object(line)) for line in lines[1:]]
        for draw in draws:
            check_rate(draw.rate, draw.id)
            for name in (*draw.speech, draw.noise, draw.id):
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
                    raise ValueError(f"{name!r} leads out of its folder")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, VaeSeError) as error:
        raise UsageError(f"{path} is not a manifest of mixtures: {error}", "draw the set again") from error
    return recipe, draws


def _row(cls: type[T], row: dict[str, Any]) -> T:
    return from_table(cls, {key: value for key, value in row.items() if value is not None}, "the manifest")
