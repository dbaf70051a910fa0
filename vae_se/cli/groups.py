"""``--noise-group``: groups of recordings with the same noise, and a noise dictionary for each group."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..audio import files
from ..audio.paths import FileJob, Source
from ..config import Config
from ..errors import UsageError, VaeSeError
from .common import say
from .work import FileSettings, FileWorker

#: Recordings of a group that the dictionary is learnt from, evenly spread.
MOST = 16


def check_groups(config: Config, executor: str | None) -> None:
    """Raise UsageError where --noise-group does not fit the other settings."""
    if executor in ("ray", "slurm"):  # the dictionaries are in a folder of this machine
        raise UsageError(
            f"--noise-group does not work with --executor {executor}", "use vae-se noise fit, and --noise FILE"
        )
    if config.method != "mcem":
        raise UsageError(f"{config.method} has no noise model to share with --noise-group", "omit one of them")
    if config.noise.file or config.noise.noise_segment:
        raise UsageError("--noise-group, and a noise that is given", "give one of them")


def groups(sources: Sequence[Source], how: str) -> list[list[Source]]:
    """Groups of recordings: each folder, or ``all``; groups of one recording are left out.

    Groups are sorted by path, so that the dictionary does not depend on the order of the inputs.
    """
    found: dict[Path | None, dict[str, Source]] = {}
    for source in sources:
        if source.path is not None and source.problem is None:
            path = source.path.resolve()
            found.setdefault(path.parent if how == "folder" else None, {})[str(path)] = source
    return [[members[key] for key in sorted(members)] for members in found.values() if len(members) > 1]


def learn_groups(
    settings: FileSettings,
    jobs: Sequence[FileJob],
    wanted: Collection[str],
    how: str,
    folder: Path,
    quiet: bool,
) -> dict[str, str]:
    """Learn a noise dictionary for each group with a ``wanted`` recording, and write it to ``folder``.

    Returns the path of the dictionary by the label of the input. Recordings whose output exists take part as
    well, so that a continued run learns the same dictionary as the first. A group without sound has no
    dictionary.
    """
    from ..enhancement.shared_noise import share_noise
    from ..noise.store import save_dictionary

    enhancer = FileWorker(settings).enhancer
    shared: dict[str, str] = {}
    for number, members in enumerate(groups([job.source for job in jobs], how)):
        if not any(source.label in wanted for source in members):
            continue
        chosen = np.linspace(0, len(members) - 1, min(MOST, len(members))).round().astype(int)
        sample = [members[i] for i in chosen]
        where = str(Path(members[0].label).parent) if how == "folder" else "all inputs"
        if not quiet:
            say(f"learning the noise of {where} from {len(sample)} of {len(members)} recordings")
        try:
            dictionary = share_noise(enhancer, _read(sample), tuple(source.label for source in sample))
        except VaeSeError as error:
            if not quiet:
                say(f"warning: {where}: {error}; its recordings are enhanced one by one")
            continue
        path = folder / f"{number}.safetensors"
        save_dictionary(dictionary, path)
        shared |= dict.fromkeys((source.label for source in members), str(path))
    return shared


def _read(sources: Sequence[Source]) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, T) and rates of the recordings that can be read; errors are reported later."""
    for source in sources:
        assert source.path is not None
        try:
            recording = files.read(source.path)
        except VaeSeError:
            continue
        if np.isfinite(recording.samples).all():
            yield recording.samples, recording.rate
