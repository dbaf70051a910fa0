"""``--batch``: recordings of like length that are enhanced together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import soundfile

from ..audio.paths import Job

#: What a batch of ``--batch auto`` holds at most, in seconds of sound, padded to its longest (or one file):
#: some tens of megabytes. On one thread it takes a tenth to a half off, the more the shorter the files are,
#: and larger ones are no faster (docs/scaling.md).
BUDGET = 32.0
#: So many inputs in a row are sorted by length; rows come in the order of the inputs, hence not all of them.
WINDOW = 256


class Length(NamedTuple):
    """What the header of a recording says: rate in Hz, and seconds of sound, of all channels together."""

    rate: int
    seconds: float


def measure(jobs: Sequence[Job]) -> dict[Job, Length]:
    """The lengths of those whose header can be read; the others have their say when they are read."""
    lengths = {}
    for job in jobs:
        path = job.source.path
        if path is None or job.source.problem is not None or not path.is_file():
            continue
        try:
            info = soundfile.info(os.fspath(path))
        except (soundfile.LibsndfileError, TypeError, OSError):
            continue
        lengths[job] = Length(info.samplerate, info.channels * info.frames / info.samplerate)
    return lengths


def batches(jobs: Sequence[Job], lengths: Mapping[Job, Length], size: int | None) -> Iterator[list[Job]]:
    """Jobs of one rate and of like length, ``size`` at most together, or as many as :data:`BUDGET` allows.

    Those without a length are alone. The longest of a window come first; with a ``size`` of 1 the order stays.
    It does not depend on which outputs exist, nor on how many workers there are: nor then do the results, to
    the last bit.
    """
    if size == 1:
        yield from ([job] for job in jobs)
        return
    for start in range(0, len(jobs), WINDOW):
        window = jobs[start : start + WINDOW]
        yield from ([job] for job in window if job not in lengths)
        known = [job for job in window if job in lengths]
        known.sort(key=lambda job: (lengths[job].rate, -lengths[job].seconds))
        for _, alike in groupby(known, key=lambda job: lengths[job].rate):
            yield from _fill(list(alike), lengths, size)


def _fill(jobs: Sequence[Job], lengths: Mapping[Job, Length], size: int | None) -> Iterator[list[Job]]:
    batch: list[Job] = []
    for job in jobs:
        if batch:
            padded = lengths[batch[0]].seconds * (len(batch) + 1)
            if len(batch) == size or (size is None and padded > BUDGET):
                yield batch
                batch = []
        batch.append(job)
    if batch:
        yield batch
