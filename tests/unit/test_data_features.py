"""Corpora and their cached power spectra."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vae_se.audio.level import active_rms
from vae_se.data import features
from vae_se.data.corpus import hold_out, scan
from vae_se.data.features import FrameSet, load_features, log_power_statistics, read_normalised
from vae_se.errors import AudioError, OutputError, UsageError
from vae_se.priors import SignalSpec

SIGNAL = SignalSpec(rate=8000, window=256, hop=64)


def write(path: Path, seconds: float = 0.5, rate: int = 8000, level: float = 0.1, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(zlib.crc32("/".join(path.parts[-2:]).encode()))
    noise = random.standard_normal((int(seconds * rate), channels))
    soundfile.write(path, level * noise, rate)


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    for speaker in "abcdef":
        for number in range(2):
            write(tmp_path / "speech" / "source" / speaker / f"{number}.wav")
    return tmp_path / "speech"


def test_scan_finds_formats_and_speakers(corpus_folder: Path) -> None:
    write(corpus_folder / "source" / "a" / "x.flac")
    write(corpus_folder / "source" / "a" / ".hidden.wav")
    (corpus_folder / "source" / "a" / "notes.txt").write_text("no audio")
    corpus = scan(corpus_folder)
    assert len(corpus.recordings) == 13
    assert corpus.speakers == tuple(f"source/{c}" for c in "abcdef")


@pytest.mark.parametrize(
    ("layout", "speakers"),
    [
        ("{s}/chapter{c}/{c}.wav", 6),  # LibriSpeech
        ("wav48/{s}/{c}.wav", 6),  # VCTK
        ("{s}-{c}.wav", 12),  # no folders: a file is a speaker
    ],
)
def test_speakers_in_common_layouts(tmp_path: Path, layout: str, speakers: int) -> None:
    for s in range(6):
        for c in range(2):
            write(tmp_path / layout.format(s=f"s{s}", c=c), seconds=0.05)
    assert len(scan(tmp_path).speakers) == speakers


def test_scan_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no audio"):
        scan(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        scan(tmp_path / "missing")


def test_hold_out_is_seeded_and_leaves_something(corpus_folder: Path) -> None:
    corpus = scan(corpus_folder)
    assert hold_out(corpus, 0.3, 1) == hold_out(corpus, 0.3, 1)
    assert len({hold_out(corpus, 0.3, seed) for seed in range(20)}) > 1
    assert len(hold_out(corpus, 0.001, 0)) == 1
    assert len(hold_out(corpus, 0.999, 0)) == 5
    with pytest.raises(UsageError):
        hold_out(corpus, 1.0, 0)


def test_normalised_to_rate_and_level(tmp_path: Path) -> None:
    write(tmp_path / "loud.wav", seconds=1, rate=16000, level=0.2, channels=2)
    waveform = read_normalised(tmp_path / "loud.wav", SIGNAL)
    assert waveform.shape == (8000,)
    assert waveform.dtype == np.float32
    assert active_rms(waveform, 8000) == pytest.approx(1.0, rel=1e-4)


def test_spectra_match_the_stft_and_are_cached(corpus_folder: Path, tmp_path: Path, monkeypatch) -> None:
    corpus, cache = scan(corpus_folder), tmp_path / "cache"
    monkeypatch.setattr(features, "_SHARD_FRAMES", 100)  # several shards
    spectra = load_features(corpus, SIGNAL, cache)
    assert len(list(cache.glob("*/*.npy"))) > 2
    for utterance in (spectra.utterances[0], spectra.utterances[-1]):
        frames = np.arange(utterance.start, utterance.start + utterance.frames)
        expected = features.power_spectra(read_normalised(corpus.root / utterance.path, SIGNAL), SIGNAL)
        np.testing.assert_array_equal(spectra.gather(frames), expected)
    scattered = np.array([len(spectra) - 1, 0, 150, 3, 3])
    np.testing.assert_array_equal(spectra.gather(scattered)[2], spectra.gather(np.array([150]))[0])
    # White noise at an active level of one has unit power in every bin,
    mean, std = log_power_statistics(FrameSet.of(spectra), 1e-8)
    # less at the borders, whose frames are padded.
    assert np.median(np.abs(mean + 0.577)) < 0.4
    assert mean.shape == std.shape == (129,)

    monkeypatch.setattr(features, "_compute", lambda *_: pytest.fail("computed again"))
    again = load_features(scan(corpus_folder), SIGNAL, cache)
    assert again.utterances == spectra.utterances


def test_cache_notices_changes(corpus_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    load_features(scan(corpus_folder), SIGNAL, cache)
    load_features(scan(corpus_folder), SignalSpec(rate=8000, window=256, hop=128), cache)
    changed = corpus_folder / "source" / "a" / "0.wav"
    os.utime(changed, (0, 0))
    load_features(scan(corpus_folder), SIGNAL, cache)
    assert len(list(cache.glob("*/index.json"))) == 3


def test_unusable_files_are_listed_and_skipped(corpus_folder: Path, tmp_path: Path) -> None:
    bad = corpus_folder / "source" / "a"
    (bad / "torn.wav").write_bytes(b"RIFF....WAVEnot audio")
    write(bad / "silent.wav", level=0.0)
    write(bad / "short.wav", seconds=0.01)
    soundfile.write(bad / "nan.wav", np.full(4000, np.nan, np.float32), 8000, subtype="FLOAT")
    spectra = load_features(scan(corpus_folder), SIGNAL, tmp_path / "cache")
    assert sorted(Path(p).name for p in spectra.skipped) == ["nan.wav", "short.wav", "silent.wav", "torn.wav"]
    assert len(spectra.utterances) == 12


def test_nothing_usable_is_an_error_and_leaves_no_cache(tmp_path: Path) -> None:
    write(tmp_path / "speech" / "silent.wav", level=0.0)
    with pytest.raises(AudioError, match="no usable audio"):
        load_features(scan(tmp_path / "speech"), SIGNAL, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_unwritable_cache(corpus_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        load_features(scan(corpus_folder), SIGNAL, tmp_path / "file" / "cache")


def test_leftovers_of_killed_runs_are_removed(corpus_folder: Path, tmp_path: Path) -> None:
    corpus = scan(corpus_folder)
    leftover = tmp_path / f".{features.cache_key(corpus, SIGNAL)}.1.partial"
    leftover.mkdir()
    os.utime(leftover, (time.time() - 10_000,) * 2)
    load_features(corpus, SIGNAL, tmp_path)
    assert not leftover.exists()


def test_long_files_are_cut_into_pieces(monkeypatch) -> None:
    waveform = np.random.default_rng(0).standard_normal(8000 * 3 + 100).astype(np.float32)
    whole = features.power_spectra(waveform, SIGNAL)
    monkeypatch.setattr(features, "_PIECE_SECONDS", 1)
    cut = features.power_spectra(waveform, SIGNAL)
    # The 100 samples at the end go with the third second.
    assert len(cut) == sum(SIGNAL.stft.frames(n) for n in (8000, 8000, 8100))
    np.testing.assert_allclose(cut[3:120], whole[3:120], rtol=1e-4, atol=1e-5)
