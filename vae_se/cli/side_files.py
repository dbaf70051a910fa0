"""Files beside the outputs, such as those of ``--plot`` and ``--vad``: the path of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..audio.paths import FileJob
from ..errors import UsageError


@dataclasses.dataclass(frozen=True)
class SideFile:
    """The ``option`` that requests files, their ``suffix``, and what they are called in messages."""

    option: str
    suffix: str
    name: str


PICTURE = SideFile("--plot", ".png", "picture")
VAD = SideFile("--vad", ".csv", "list of speech segments")


def plan_side_files(jobs: Sequence[FileJob], given: str | None, many: bool, kind: SideFile) -> dict[str, Path]:
    """The path of a file for every input that can be read, by its label; none where nothing is ``given``.

    ``given``: a file for one input; for ``many`` a folder, with the same tree as the inputs, or a template with
    {stem}. Raises UsageError where two paths are the same, or one is an input or output.
    """
    if not given:
        return {}
    planned: dict[str, Path] = {}
    readable = [job for job in jobs if job.source.problem is None]
    template = "{stem}" in given
    folder = not template and (many or Path(given).is_dir() or not Path(given).suffix)
    if folder and Path(given).suffix and not Path(given).is_dir():
        raise UsageError(
            f"several inputs and one {kind.name} {given}",
            f"give {kind.option} a folder, or a name with {{stem}}",
        )
    for job in readable:
        stem = job.source.tree.stem if job.source.path is not None else "stdin"
        if folder:
            planned[job.source.label] = Path(given) / job.source.tree.parent / f"{stem}{kind.suffix}"
        else:
            planned[job.source.label] = Path(given.replace("{stem}", stem))
    taken = [path.resolve() for job in readable for path in (job.source.path, job.target) if path is not None]
    for path in planned.values():
        if path.resolve() in taken:
            raise UsageError(
                f"the {kind.name} {path} would replace another file", f"give another name to {kind.option}"
            )
        taken.append(path.resolve())
    return planned
