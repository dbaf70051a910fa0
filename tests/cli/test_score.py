"""vae-se mix, score and compare: mixtures, the scores of any system's files, and a page to listen to."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
import soundfile

RATE = 16000


@pytest.fixture
def folders(wav, make_speech, tmp_path):
    """Two clean files, their noisy versions, and what a system made of them under names of its own."""
    rng = np.random.default_rng(0)
    for seed, name in enumerate(("anna", "bert")):
        clean = make_speech(1.0, RATE, seed)
        noise = 0.02 * rng.standard_normal(clean.size)
        wav(f"clean/{name}.wav", clean)
        wav(f"noisy/{name}.flac", clean + noise)
        wav(f"mine/{name}_enhanced.wav", clean + 0.25 * noise)
    return tmp_path


def test_score_matches_files_by_name_and_gives_means_and_intervals(cli, folders):
    ran = cli(
        "score", folders / "clean", folders / "mine", "--noisy", folders / "noisy",
        "--metrics", "si_sdr,si_sir", "--csv", folders / "means.csv", "--csv-files", folders / "files.csv",
        "--jobs", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "2 files: mean and 95 % interval" in ran.out
    assert "si_sdr ↑" in ran.out
    with (folders / "means.csv").open() as file:
        rows = {(row["metric"], row["what"]): row for row in csv.DictReader(file)}
    change = rows["si_sdr", "change"]
    assert float(change["mean"]) == pytest.approx(12.04, abs=0.2)  # the noise is a quarter
    assert float(change["low"]) <= float(change["mean"]) <= float(change["high"])
    assert change["files"] == "2"
    with (folders / "files.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["anna", "anna", "bert", "bert"]


def test_score_says_what_does_not_belong_together(cli, folders, wav, make_speech):
    ran = cli("score", folders / "clean", folders / "noisy", "--metrics", "si_sir")
    assert (ran.code, "si_sir needs the noisy files" in ran.err) == (2, True)
    wav("other/carl.wav", make_speech(0.2))
    ran = cli("score", folders / "clean", folders / "other", "--metrics", "si_sdr")
    assert ran.code == 2
    assert "no file of" in ran.err
    wav("mine/anna_again.wav", make_speech(0.2))
    ran = cli("score", folders / "clean", folders / "mine", "--metrics", "si_sdr")
    assert ran.code == 2
    assert "both belong to anna" in ran.err


@pytest.mark.slow
def test_a_file_that_cannot_be_scored_is_named_and_the_others_are_scored(cli, folders, wav, make_speech):
    wav("mine/anna_enhanced.wav", make_speech(0.7))
    ran = cli("score", folders / "clean", folders / "mine", "--metrics", "si_sdr", "--jobs", "1")
    assert ran.code == 1
    assert "failed: anna: unequal lengths" in ran.err
    assert "si_sdr" in ran.out


def test_mix_makes_what_was_asked_and_a_manifest(cli, wav, make_speech, tmp_path):
    wav("speech.wav", make_speech(1.0))
    wav("noise/fan/1.wav", 0.1 * np.random.default_rng(0).standard_normal(2 * RATE))
    ran = cli("mix", tmp_path / "speech.wav", tmp_path / "noise", "--snr", "0,10", "-o", tmp_path / "set")
    assert ran.code == 0, ran.err
    header, *draws = map(json.loads, (tmp_path / "set/manifest.jsonl").read_text().splitlines())
    assert header["recipe"]["snrs_db"] == [0.0, 10.0]
    assert sorted(draw["snr_db"] for draw in draws) == [0.0, 10.0]
    for draw in draws:
        clean, rate = soundfile.read(tmp_path / f"set/clean/{draw['id']}.wav")
        noisy, _ = soundfile.read(tmp_path / f"set/noisy/{draw['id']}.wav")
        assert rate == RATE
        noise = noisy - clean
        # The active level exceeds the RMS of speech with pauses.
        snr = 10 * np.log10(np.sum(clean**2) / np.sum(noise**2))
        assert draw["snr_db"] - 4 < snr < draw["snr_db"] + 0.1
    assert cli("mix", tmp_path / "speech.wav", tmp_path / "noise", "-o", tmp_path / "set").code == 1
    ran = cli("mix", tmp_path / "speech.wav", tmp_path / "none", "-o", tmp_path / "other")
    assert (ran.code, "does not exist" in ran.err) == (2, True)
    ran = cli("mix", tmp_path / "speech.wav", tmp_path / "noise", "-o", tmp_path / "other", "--snr", "loud")
    assert (ran.code, "expected numbers in dB" in ran.err) == (2, True)


def test_compare_prints_a_table_and_writes_a_page(cli, wav, make_noisy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)  # as if DNSMOS were not installed
    path = wav("talk.wav", make_noisy(1.0))
    ran = cli("compare", path, "--presets", "", "--methods", "log-mmse,wiener-dd", "--csv", tmp_path / "t.csv")
    assert ran.code == 0, ran.err
    assert "no DNSMOS: speechmos is not installed" in ran.err
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line[0] != " "}
    assert set(lines) >= {"noisy", "log-mmse", "wiener-dd"}
    page = (tmp_path / "talk_compare.html").read_text()
    assert "log-mmse" in page
    assert "data:audio/flac" in page
    assert "real-time" in ran.out
    assert cli("compare", path, "--presets", "", "--methods", "log-mmse").code == 1  # the page exists
    ran = cli("compare", path, "--presets", "fats", "--overwrite")
    assert (ran.code, "did you mean fast" in ran.err) == (2, True)


def test_figures_without_a_reference_say_what_changed(make_noisy, monkeypatch):
    from vae_se.benchmark.comparison import figures

    monkeypatch.setattr("vae_se.benchmark.comparison.missing", lambda packages: list(packages))
    noisy = make_noisy(2.0)
    same, half = figures(noisy, noisy, RATE), figures(noisy, noisy / 2, RATE)
    assert same["level_db"] == 0.0
    assert half["level_db"] == pytest.approx(-6.02, abs=0.1)
    assert half["pauses_db"] == pytest.approx(same["pauses_db"], abs=0.1)
