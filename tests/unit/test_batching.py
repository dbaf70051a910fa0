"""--batch: which recordings are enhanced together, and that all else has no part in it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from vae_se.audio.paths import FileJob, Source
from vae_se.cli.batching import BUDGET, WINDOW, Length, batches, measure


def jobs_of(seconds, rate=16000):
    """Jobs and their lengths."""
    jobs = [
        FileJob(Source(f"{i}.wav", Path(f"{i}.wav"), Path(f"{i}.wav")), Path(f"out/{i}.wav"))
        for i in range(len(seconds))
    ]
    return jobs, {job: Length(rate, s) for job, s in zip(jobs, seconds, strict=True)}


def test_every_job_once_of_like_length_and_within_the_budget():
    seconds = [random.Random(i).uniform(0.2, 40) for i in range(3 * WINDOW // 2)]
    jobs, lengths = jobs_of(seconds)
    made = list(batches(jobs, lengths, None))
    assert sorted(job.source.label for batch in made for job in batch) == sorted(
        job.source.label for job in jobs
    )
    assert max(len(batch) for batch in made) >= 10
    padding = 0.0
    for batch in made:
        longest = max(lengths[job].seconds for job in batch)
        assert len(batch) == 1 or longest * len(batch) <= BUDGET
        padding += sum(longest - lengths[job].seconds for job in batch)
    assert padding < 0.05 * sum(seconds)


def test_rates_stay_apart_and_what_has_no_length_is_alone():
    jobs, lengths = jobs_of([1.0] * 6)
    for job in jobs[::2]:
        lengths[job] = Length(8000, 1.0)
    del lengths[jobs[5]]
    made = [[job.source.label for job in batch] for batch in batches(jobs, lengths, None)]
    assert made == [["5.wav"], ["0.wav", "2.wav", "4.wav"], ["1.wav", "3.wav"]]
    assert [len(batch) for batch in batches(jobs, lengths, 2)] == [1, 2, 1, 2]
    assert list(batches(jobs, lengths, 1)) == [[job] for job in jobs]


def test_what_the_headers_say(wav, tmp_path):
    good = wav("stereo.wav", np.zeros((2, 8000)), 8000)
    (tmp_path / "text.wav").write_text("no sound")
    paths = [good, tmp_path / "text.wav", tmp_path / "missing.wav", None]
    jobs = [FileJob(Source(str(path), path, Path("x.wav")), None) for path in paths]
    assert measure(jobs) == {jobs[0]: Length(8000, 2.0)}
