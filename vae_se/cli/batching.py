"""``--batch``: batches of recordings of similar length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import soundfile

from ..audio.formats import is_media_name
from ..audio.media import probe
from ..audio.paths import FileJob
from ..errors import AudioError

#: Largest batch of ``--batch auto``, in seconds of sound, padded to its longest file (a batch of one file may
#: be larger): some tens of megabytes. On one thread this saves a tenth to a half of the time, more for shorter
#: files; larger batches are no faster (docs/scaling.md).
BUDGET = 32.0
#: Number of consecutive inputs that are sorted by length. Outcomes are reported in the order of the inputs, so
#: sorting all of them would delay the first.
WINDOW = 256


class Length(NamedTuple):
    """Rate in Hz and duration in seconds, summed over channels, from the header of a recording."""

    rate: int
    seconds: float


def measure(jobs: Sequence[FileJob]) -> dict[FileJob, Length]:
    """The lengths of the recordings whose header can be read; errors are reported later, when they are read."""
    lengths = {}
    for job in jobs:
        path = job.source.path
        if path is None or job.source.problem is not None or not path.is_file():
            continue
        try:
            if is_media_name(path):
                found = probe(path)
                lengths[job] = Length(found.rate, found.channels * found.seconds)
                continue
            info = soundfile.info(os.fspath(path))
        except (soundfile.LibsndfileError, TypeError, OSError, AudioError):
            continue
        lengths[job] = Length(info.samplerate, info.channels * info.frames / info.samplerate)
    return lengths


def batches(
    jobs: Sequence[FileJob], lengths: Mapping[FileJob, Length], size: int | None
) -> Iterator[list[FileJob]]:
    """Batches of jobs of one rate and similar length: at most ``size`` jobs, or as many as :data:`BUDGET`
    allows.

    Jobs without a length are batches of their own. The longest jobs of a window come first; a ``size`` of 1
    keeps the order. The batches depend neither on existing outputs nor on the number of workers, so the results
    do not either, to the last bit.
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


def _fill(
    jobs: Sequence[FileJob], lengths: Mapping[FileJob, Length], size: int | None
) -> Iterator[list[FileJob]]:
    batch: list[FileJob] = []
    for job in jobs:
        if batch:
            padded = lengths[batch[0]].seconds * (len(batch) + 1)
            if len(batch) == size or (size is None and padded > BUDGET):
                yield batch
                batch = []
        batch.append(job)
    if batch:
        yield batch
