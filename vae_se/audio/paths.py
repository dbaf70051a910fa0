"""Inputs of the command line, and the output of each."""

from __future__ import annotations

import dataclasses
import glob
import os
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import AudioError, UsageError, nearest
from . import ffmpeg
from .formats import FALLBACK, container_of, is_audio_name, is_media_name, writable_extension

STDIN = "-"
DEFAULT_NAME = "{stem}_enhanced{ext}"
_FIELDS = ("stem", "ext", "method", "parent")


@dataclasses.dataclass(frozen=True)
class Source:
    """One input. ``path``: None for stdin. ``tree``: path relative to the folder that the user named.

    ``problem``: why the input cannot be read; it is reported as failed, or as skipped where ``skipped`` is set,
    and does not stop the others.
    """

    label: str
    path: Path | None
    tree: Path
    problem: AudioError | None = None
    skipped: bool = False


@dataclasses.dataclass(frozen=True)
class FileJob:
    """One input and its output; ``target``: None for stdout. ``exists``: the output exists and is kept."""

    source: Source
    target: Path | None
    exists: bool = False


def collect(inputs: Sequence[str], below: Path | None = None, skipped: bool = False) -> list[Source]:
    """Expand files, folders (recursively), globs, ``@list.txt`` and ``-`` into inputs, in order, without
    duplicates.

    ``below``: the output folder. It is left out when a folder is searched, so that a second run finds the same
    inputs as the first. ``skipped``: also list the files of a folder that need ffmpeg where there is none.
    """
    found: list[Source] = []
    for item in inputs:
        found += [source for source in _expand(item, below) if skipped or not source.skipped]
    unique: dict[str, Source] = {}
    for source in found:
        key = (
            STDIN
            if source.path is None and source.problem is None
            else str((source.path or source.tree).resolve())
        )
        unique.setdefault(key, source)
    return list(unique.values())


def several(inputs: Sequence[str]) -> bool:
    """Whether the arguments may stand for several inputs, so that ``-o`` is a folder."""
    if len(inputs) != 1:
        return True
    item = inputs[0]
    return (
        item != STDIN
        and not Path(item).is_file()
        and (item.startswith("@") or glob.has_magic(item) or Path(item).is_dir())
    )


def _expand(item: str, below: Path | None) -> list[Source]:
    path = Path(item)
    if item == STDIN:
        return [Source("<stdin>", None, Path("stdin" + FALLBACK))]
    if path.is_dir():
        return _walk(path, below)
    # An existing file whose name starts with @ or contains [ or * is that file.
    if not path.exists() and item.startswith("@"):
        return _listed(Path(item[1:]), below)
    if not path.exists() and glob.has_magic(item):
        return _matched(item, below)
    # Reported before any model is loaded.
    problem = missing_file(path, item) if not path.exists() else _unreadable(path, item)
    return [Source(item, path, Path(path.name), problem)]


def _unreadable(path: Path, label: str) -> AudioError | None:
    """The error for a file that needs ffmpeg where there is none."""
    return ffmpeg.without_ffmpeg(path, label) if is_media_name(path) and not ffmpeg.available() else None


def _in_folder(path: Path, tree: Path) -> Source:
    """The input for a file that the user did not name: skipped where it needs ffmpeg and there is none."""
    problem = _unreadable(path, str(path))
    return Source(str(path), path, tree, problem, skipped=problem is not None)


def _walk(folder: Path, below: Path | None) -> list[Source]:
    outputs = below.resolve() if below is not None else None
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        inside = [d for d in folders if not d.startswith(".")]
        folders[:] = sorted(d for d in inside if outputs is None or (Path(parent) / d).resolve() != outputs)
        files += [
            Path(parent) / n
            for n in names
            if not n.startswith(".") and (is_audio_name(Path(n)) or is_media_name(Path(n)))
        ]
    found = [_in_folder(f, f.relative_to(folder)) for f in sorted(files)]
    if all(source.skipped for source in found):
        problem = AudioError(f"no audio file in {folder}", "is it the right folder?")
        if found:
            problem = AudioError(f"no file in {folder} can be read without ffmpeg", ffmpeg.install_command())
        found.append(Source(str(folder), None, folder, problem))
    return found


def _listed(path: Path, below: Path | None) -> list[Source]:
    """Inputs of a text file, one path per line, relative to the working directory; # starts a comment line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the list {path}: {error}", "give one path per line, in UTF-8") from None
    items = [line.strip() for line in lines]
    found: list[Source] = []
    for item in items:
        if item.startswith("@"):
            raise UsageError(f"{path} names another list, {item}", "a list contains paths only")
        if item and not item.startswith("#"):
            found += _expand(item, below)
    if not found:
        raise UsageError(f"the list {path} is empty", "give one path per line")
    return found


def _matched(pattern: str, below: Path | None) -> list[Source]:
    # Output paths are relative to the last folder before the first wildcard.
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    found: list[Source] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if path.is_file():
            found.append(_in_folder(path, path.relative_to(base)))
        elif "**" not in pattern:
            # '*' may match folders, whose files are then inputs; '**' matches these files itself.
            found += [dataclasses.replace(s, tree=path.relative_to(base) / s.tree) for s in _walk(path, below)]
    if not found:
        return [
            Source(pattern, None, Path(pattern), AudioError(f"no file matches {pattern}", "check the pattern"))
        ]
    return found


def output_name(source: Source, name: str, method: str) -> str:
    """File name of an output, from a template ``name`` with {stem}, {ext}, {method} and {parent}.

    Raises UsageError for an invalid template.
    """
    tree = source.tree
    values = {
        "stem": tree.stem,
        "ext": writable_extension(tree.suffix),
        "method": method,
        "parent": (source.path or tree).absolute().parent.name,
    }
    try:
        parts = list(string.Formatter().parse(name))
    except ValueError as error:
        raise UsageError(f"--name {name!r}: {error}", "for example {stem}_{method}{ext}") from None
    for _, field, spec, conversion in parts:
        # Plain fields only: an attribute would reveal internals, and a width could take gigabytes.
        if field is not None and (field not in values or spec or conversion):
            raise UsageError(f"unknown field {{{field}}} in --name", nearest(field, _FIELDS))
    made = name.format_map(values)
    if made in ("", ".", "..") or "/" in made or os.sep in made or "\0" in made:
        raise UsageError(f"--name gives {made!r}, which is not a file name", "use -o for folders")
    container_of(Path(made))
    return made


def plan(
    sources: Sequence[Source],
    output: str | None = None,
    *,
    name: str = DEFAULT_NAME,
    method: str = "mcem",
    many: bool = False,
    overwrite: bool = False,
    with_noise: bool = False,
    draws: int = 0,
) -> list[FileJob]:
    """The jobs: an output for every input.

    ``output``: None (in the folder of the input), ``-`` (stdout), a file, or a folder. It is a folder if there
    may be ``many`` inputs, if the folder exists, if it ends with a slash or has no extension. ``name``:
    template of output names. Inputs with a problem have no target. Raises UsageError where an output is also an
    input, or two outputs are the same.
    """
    if output == STDIN or (output is None and any(_is_stdin(s) for s in sources)):
        if len(sources) != 1:
            raise UsageError("several inputs cannot go to one stdout", "give -o DIR")
        return [FileJob(sources[0], None)]
    jobs = []
    for source in sources:
        if source.problem is not None:
            jobs.append(FileJob(source, None))
            continue
        if output is None:
            assert source.path is not None
            target = source.path.parent / output_name(source, name, method)
        elif not many and not _is_folder(output):
            container_of(Path(output))
            target = Path(output)
        else:
            if Path(output).exists() and not Path(output).is_dir():
                raise UsageError(f"several inputs, but {output} is a file", "give a folder with -o")
            target = _inside(Path(output), source) / output_name(source, name, method)
        jobs.append(FileJob(source, target, exists=target.exists() and not overwrite))
    _check(jobs, with_noise, draws)
    return jobs


def _inside(folder: Path, source: Source) -> Path:
    """The folder of the output of ``source`` below ``folder``. Raises UsageError where it would lie outside."""
    parent = Path(os.path.normpath(source.tree.parent))
    if parent.is_absolute() or ".." in parent.parts:
        raise UsageError(f"{source.label} would be written outside of {folder}", "give a pattern without ..")
    return folder / parent


def noise_target(target: Path) -> Path:
    """Path of the noise estimate that belongs to an output."""
    return target.with_name(f"{target.stem}_noise{target.suffix}")


def draw_target(target: Path, number: int) -> Path:
    """Path of posterior draw ``number``, which counts from 1, of the speech of an output."""
    return target.with_name(f"{target.stem}_draw{number}{target.suffix}")


def _is_stdin(source: Source) -> bool:
    return source.path is None and source.problem is None


def _is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir() or not Path(output).suffix


def _check(jobs: Iterable[FileJob], with_noise: bool, draws: int) -> None:
    """Raise UsageError where an output is also an input, or two outputs are the same file (links resolved)."""
    jobs = [job for job in jobs if job.source.problem is None and job.target is not None]
    inputs = {str(job.source.path.resolve()) for job in jobs if job.source.path is not None}
    outputs: dict[str, str] = {}
    for job in jobs:
        assert job.target is not None
        beside = [noise_target(job.target)] if with_noise else []
        beside += [draw_target(job.target, number + 1) for number in range(draws)]
        for target in (job.target, *beside):
            key = str(target.resolve())
            if key in inputs:
                raise UsageError(
                    f"{target} is an input and would be the output of {job.source.label}",
                    "omit it, or give -o DIR or --name",
                )
            if key in outputs:
                raise UsageError(
                    f"{outputs[key]} and {job.source.label} would both be written to {target}",
                    "give them different names, for example --name '{parent}_{stem}{ext}'",
                )
            outputs[key] = job.source.label


def missing_file(path: Path, label: str) -> AudioError:
    """The error for a file that does not exist, or for a link to one."""
    if path.is_symlink():
        return AudioError(
            f"{label} is a link to {path.readlink()}, which does not exist", "remove or repair the link"
        )
    return AudioError(f"{label} does not exist", "check the path")
