"""``--noise-group``: groups of recordings with the same noise; each group first learns a noise dictionary."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..audio import files
from ..audio.paths import FileJob, Source
from ..config import METHODS, Config
from ..errors import UsageError, VaeSeError
from .common import say
from .work import FileSettings, FileWorker

#: Greatest number of recordings from which the dictionary of a group is learnt, evenly spaced in the group.
MAX_RECORDINGS = 16


def check_groups(config: Config, executor: str | None) -> None:
    """Raise UsageError where --noise-group contradicts another setting."""
    if executor in ("ray", "slurm"):  # the dictionaries lie in a folder of this machine
        raise UsageError(
            f"--noise-group and --executor {executor}",
            "learn a dictionary with vae-se noise fit, then give --noise FILE",
        )
    if config.method not in METHODS:
        raise UsageError(
            f"{config.method} has no noise model that --noise-group could share", "leave one of them out"
        )
    if config.noise.file or config.noise.noise_segment:
        raise UsageError("--noise-group and a known noise (a noise file or segment)", "give one of them")


def groups(sources: Sequence[Source], how: str) -> list[list[Source]]:
    """Groups of recordings: those of each folder (``how`` = folder), or all. Groups of one are left out.

    Sorted by path, so that the dictionaries do not depend on the order of the inputs.
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
    """Write a noise dictionary into ``folder`` for each group with a ``wanted`` label; labels to files.

    All recordings of a group are used, even those whose output exists, so that a continued run learns the same
    dictionary. A group in which nothing can be learnt has no dictionary.
    """
    from ..enhancement.shared_noise import share_noise
    from ..noise.store import save_dictionary

    enhancer = FileWorker(settings).enhancer
    shared: dict[str, str] = {}
    for number, members in enumerate(groups([job.source for job in jobs], how)):
        if not any(source.label in wanted for source in members):
            continue
        chosen = np.linspace(0, len(members) - 1, min(MAX_RECORDINGS, len(members))).round().astype(int)
        sample = [members[i] for i in chosen]
        where = str(Path(members[0].label).parent) if how == "folder" else "all inputs"
        if not quiet:
            say(f"learning the noise of {where} from {len(sample)} of {len(members)} recordings")
        try:
            dictionary = share_noise(enhancer, _read(sample), tuple(source.label for source in sample))
        except VaeSeError as error:
            if not quiet:
                say(f"warning: {where}: {error.message}; its recordings are enhanced one by one")
            continue
        path = folder / f"{number}.safetensors"
        save_dictionary(dictionary, path)
        shared |= dict.fromkeys((source.label for source in members), str(path))
    return shared


def _read(sources: Sequence[Source]) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, T) and rates of the readable recordings; the others are reported when they are enhanced.

    Those of fewer samples than channels are left out: :func:`share_noise` would take them for a mistaken axis.
    """
    from ..enhancement.arrays import MOST_CHANNELS

    for source in sources:
        assert source.path is not None
        try:
            recording = files.read(source.path)
        except VaeSeError:
            continue
        channels, length = recording.samples.shape
        if channels <= min(length, MOST_CHANNELS) and np.isfinite(recording.samples).all():
            yield recording.samples, recording.rate
