"""``--noise-group``: recordings that share their noise, and the dictionary that each group learns first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..audio import files
from ..audio.paths import Job, Source
from ..config import Config
from ..errors import UsageError, VaeSeError
from .common import say
from .work import Settings, Worker

#: So many recordings of a group are listened to, spread over it.
MOST = 16


def check_groups(config: Config, executor: str | None) -> None:
    """UsageError where --noise-group and the rest of the settings cannot both be meant."""
    if executor in ("ray", "slurm"):  # what is learnt lies in a folder of this machine
        raise UsageError(f"--noise-group and --executor {executor}", "vae-se noise fit, and then --noise FILE")
    if config.method != "mcem":
        raise UsageError(f"{config.method} learns no noise that --noise-group could share", "leave one out")
    if config.noise.file or config.noise.noise_segment:
        raise UsageError("--noise-group and a noise that is known already", "give one of them")


def groups(sources: Sequence[Source], how: str) -> list[list[Source]]:
    """The recordings of each folder, or ``all`` of them; groups of one share nothing and are left out.

    Sorted by path, so that what is learnt does not depend on the order of the inputs.
    """
    found: dict[Path | None, dict[str, Source]] = {}
    for source in sources:
        if source.path is not None and source.problem is None:
            path = source.path.resolve()
            found.setdefault(path.parent if how == "folder" else None, {})[str(path)] = source
    return [[members[key] for key in sorted(members)] for members in found.values() if len(members) > 1]


def learn_groups(
    settings: Settings, jobs: Sequence[Job], wanted: Collection[str], how: str, folder: Path, quiet: bool
) -> dict[str, str]:
    """A noise dictionary in ``folder`` for each group of which a recording is ``wanted``, by its label.

    All recordings of a group count, even those whose output exists: a run that goes on finds what the first
    one found. By the input's label. A group in which there is nothing to learn from has none.
    """
    from ..enhancement.shared_noise import share_noise
    from ..noise.store import save_dictionary

    enhancer = Worker(settings).enhancer
    shared: dict[str, str] = {}
    for number, members in enumerate(groups([job.source for job in jobs], how)):
        if not any(source.label in wanted for source in members):
            continue
        chosen = np.linspace(0, len(members) - 1, min(MOST, len(members))).round().astype(int)
        heard = [members[i] for i in chosen]
        where = str(Path(members[0].label).parent) if how == "folder" else "all inputs"
        if not quiet:
            say(f"learning the noise of {where} from {len(heard)} of {len(members)} recordings")
        try:
            dictionary = share_noise(enhancer, _read(heard), tuple(source.label for source in heard))
        except VaeSeError as error:
            if not quiet:
                say(f"warning: {where}: {error}; each recording is enhanced by itself")
            continue
        path = folder / f"{number}.safetensors"
        save_dictionary(dictionary, path)
        shared |= dict.fromkeys((source.label for source in members), str(path))
    return shared


def _read(sources: Sequence[Source]) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, T) and rates of those that can be read; the others are reported when their turn comes."""
    for source in sources:
        assert source.path is not None
        try:
            recording = files.read(source.path)
        except VaeSeError:
            continue
        if np.isfinite(recording.samples).all():
            yield recording.samples, recording.rate
