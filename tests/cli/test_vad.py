"""vae-se enhance --vad: the segments with speech as CSV."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from vae_se.enhancement.activity import speech_segments
from vae_se.signal_spec import SignalSpec


def read(path):
    """Start and end of the segments."""
    with path.open() as file:
        return [(float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]


def test_segments_are_where_the_speech_is(cli, wav, make_speech, tmp_path):
    rng = np.random.default_rng(0)
    samples = 0.002 * rng.standard_normal(4 * 16000)
    samples[16000:32000] += make_speech(1.0)
    path = wav("talk.wav", samples)
    options = ["--preset", "fast", "--set", "inference.iterations=2", "--device", "cpu"]
    ran = cli("enhance", path, "--vad", tmp_path / "talk.csv", "--json", *options)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["vad"] == str(tmp_path / "talk.csv")
    found = read(tmp_path / "talk.csv")
    assert found
    for start, end in found:
        assert 0.9 < start < end < 2.1
    assert sum(end - start for start, end in found) > 0.3
    again = cli("enhance", path, "--vad", tmp_path / "other.csv", *options)
    assert "no list of speech segments of outputs that are kept (1)" in again.err
    ran = cli("enhance", path, "--vad", tmp_path / "talk.csv", "--name", "more.wav", *options)
    assert (ran.code, "exists already" in ran.err) == (1, True)
    ran = cli("enhance", path, "--vad", tmp_path / "b.csv", "--method", "log-mmse", "--overwrite")
    assert (ran.code, "--vad needs inference" in ran.err) == (2, True)


@pytest.mark.slow
def test_a_long_file_has_the_same_segments(cli, wav, make_noisy, tmp_path, tiny_prior, monkeypatch):
    path = wav("talk.wav", make_noisy(3.0))
    options = ["--prior", tiny_prior, "--set", "inference.iterations=2", "--device", "cpu"]
    assert cli("enhance", path, "--vad", tmp_path / "a.csv", "--name", "a.wav", *options).code == 0
    monkeypatch.setattr("vae_se.enhancement.long_file.LONG", 1000)
    assert cli("enhance", path, "--vad", tmp_path / "b.csv", "--name", "b.wav", *options).code == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_segments_end_with_the_recording_and_any_channel_counts():
    signal = SignalSpec(rate=16000, window=1024, hop=256)
    one, two = torch.zeros(20), torch.zeros(20)
    one[2:5], two[12:] = 0.9, 0.8
    found = speech_segments([one, two], signal, 0.2)
    assert [round(segment.start, 3) for segment in found] == [0.008, 0.168]
    assert found[0].end == pytest.approx(0.056)
    assert found[1].end == 0.2
    assert found[1].probability == pytest.approx(0.8)
    assert speech_segments([], signal, 1.0) == []
