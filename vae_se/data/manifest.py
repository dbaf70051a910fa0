"""The manifest of a set of mixtures: JSON lines, a header and one line per draw."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import soundfile as sf

from .. import __version__
from ..errors import OutputError, UsageError
from .mixing import Draw, Recipe

FORMAT = "vae-se mixtures 1"


def library_versions(*names: str) -> dict[str, str]:
    """Versions of vae-se, libsndfile and the named distributions ("absent" where not installed)."""
    found = {"vae-se": __version__, "libsndfile": sf.__libsndfile_version__}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def write_manifest(path: Path, recipe: Recipe, draws: Iterable[Draw]) -> int:
    """Write a manifest under a temporary name, then rename it; returns the number of draws."""
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


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def read_manifest(path: Path) -> tuple[Recipe, list[Draw]]:
    """The recipe and the draws of a manifest. Raises :class:`UsageError` where it is not one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        header = json.loads(lines[0])
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}, expected {FORMAT!r}")
        recipe = Recipe(**_tuples(header["recipe"]))
        draws = [Draw(**_tuples(json.loads(line))) for line in lines[1:]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(f"{path} is not a manifest of mixtures: {error}", "draw the set anew") from error
    return recipe, draws
