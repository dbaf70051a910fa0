"""Adapters on tiny trees: pairing, facts from names and lists, and errors for missing sets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from vae_se.data.testsets import TESTSETS
from vae_se.errors import AudioError, UsageError


def wav(path: Path, seconds: float = 0.2, rate: int = 16000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate)), rate)
    return path


def test_pairs_by_stem_never_by_order(tmp_path: Path) -> None:
    for name in ("s1/a", "s1/b", "s2/a"):
        wav(tmp_path / f"clean/{name}.wav")
    for name in ("s1/b", "s2/a", "s2/c"):
        wav(tmp_path / f"noisy/{name}.flac")
    found = TESTSETS["pairs"].open({"root": "."}, tmp_path)
    assert [entry.id for entry in found.entries] == ["s1/b", "s2/a"]
    assert found.notes == ("clean without noisy: s1/a.wav", "noisy without clean: s2/c.flac")
    mixture = found.entries[0].load()
    assert mixture.rate == 16000
    assert mixture.noise is None
    assert mixture.clean.dtype == np.float32
    wav(tmp_path / "clean/s1/b.flac")
    with pytest.raises(UsageError, match="same stem"):
        TESTSETS["pairs"].open({"root": "."}, tmp_path)
    with pytest.raises(UsageError, match="no file of"):
        TESTSETS["pairs"].open({"root": ".", "noisy": "clean/s2", "clean": "noisy/s1"}, tmp_path)


def test_pairs_that_do_not_fit_are_errors_of_their_own(tmp_path: Path) -> None:
    wav(tmp_path / "clean/rate.wav")
    wav(tmp_path / "noisy/rate.wav", rate=8000)
    wav(tmp_path / "clean/length.wav")
    wav(tmp_path / "noisy/length.wav", seconds=0.3)
    wav(tmp_path / "clean/empty.wav")
    wav(tmp_path / "noisy/empty.wav", seconds=0.0)
    entries = {e.id: e for e in TESTSETS["pairs"].open({"root": "."}, tmp_path).entries}
    for name, text in (("rate", "sample rates differ"), ("length", "unequal lengths"), ("empty", "no samples")):
        with pytest.raises(AudioError, match=text):
            entries[name].load()


def test_voicebank_demand(tmp_path: Path) -> None:
    root = tmp_path / "voicebank-demand"
    for i, name in enumerate(("p232_001", "p257_002")):
        for folder in ("clean", "noisy"):
            wav(root / f"{folder}_testset_wav/{name}.wav", rate=48000, seed=i)
    (root / "logfiles").mkdir()
    (root / "logfiles/log_testset.txt").write_text("p232_001 bus 17.5\np257_003 cafe 2.5\n\nnot a line of it\n")
    found = TESTSETS["voicebank-demand"].open({}, tmp_path)
    first, second = found.entries
    assert (first.id, first.snr_db, first.noise_type) == ("p232_001", 17.5, "bus")
    assert (second.snr_db, second.noise_type) == (None, None)
    assert found.notes == ("not in the log: p257_002",)
    mixture = first.load()
    assert (mixture.rate, mixture.clean.size) == (16000, 3200)


def test_wsj0_qut(tmp_path: Path) -> None:
    root = tmp_path / "wsj0-qut"
    wav(root / "clean/440/x.wav")
    wav(root / "noisy/x_0dB.wav")
    row = {"utt_name": "x", "clean_wav": "{clean_root}/440/x.wav", "noisy_wav": "{noisy_root}/x_0dB.wav",
           "noise_type": "CAFE", "snr": 0}  # fmt: skip
    for listed in ({"x_cafe": row}, [row]):
        (root / "test.json").write_text(json.dumps(listed))
        (entry,) = TESTSETS["wsj0-qut"].open({}, tmp_path).entries
        assert entry.id == ("x_cafe" if isinstance(listed, dict) else "x")
        assert (entry.snr_db, entry.noise_type) == (0.0, "CAFE")
        assert entry.load().noisy.size == 3200
    (root / "test.json").write_text('[{"noisy_wav": "x"}]')
    with pytest.raises(UsageError, match="not a list of WSJ0-QUT: KeyError 'clean_wav'"):
        TESTSETS["wsj0-qut"].open({}, tmp_path)


def test_dns_challenge(tmp_path: Path) -> None:
    root = tmp_path / "dns"
    wav(root / "clean/clean_fileid_7.wav")
    wav(root / "clean/clean_fileid_10.wav")
    wav(root / "clean/readme_first.wav")
    wav(root / "noisy/clnsp105_train_73956_1_snr-6_tl-27_fileid_7.wav")
    wav(root / "noisy/door_k_snr10_tl-20_fileid_8.wav")
    found = TESTSETS["dns-challenge"].open({"root": "dns"}, tmp_path)
    (entry,) = found.entries
    assert (entry.id, entry.snr_db) == ("fileid_7", -6.0)
    assert found.notes == (
        "no fileid: readme_first.wav",
        "clean without noisy: clean_fileid_10.wav",
        "noisy without clean: door_k_snr10_tl-20_fileid_8.wav",
    )
    assert entry.load().noise is None
    wav(root / "noise/noise_fileid_7.wav")
    assert TESTSETS["dns-challenge"].open({"root": "dns"}, tmp_path).entries[0].load().noise is not None


def test_librimix(tmp_path: Path) -> None:
    root = tmp_path / "librimix"
    for part in ("mix_single", "s1", "noise"):
        wav(root / f"test/{part}/1089-1_2.wav")
    (root / "list.csv").write_text(
        "mixture_ID,mixture_path,source_1_path,noise_path,length\n"
        "1089-1_2,/old/test/mix_single/1089-1_2.wav,/old/test/s1/1089-1_2.wav,/old/test/noise/1089-1_2.wav,3200\n"
    )
    (root / "metrics.csv").write_text("mixture_ID,source_1_SNR,noise_SNR\n1089-1_2,-1.25,1.25\n")
    options = {"csv": "list.csv", "metrics_csv": "metrics.csv", "prefix": "/old"}
    (entry,) = TESTSETS["librimix"].open(options, tmp_path).entries
    assert entry.snr_db == -1.25
    assert entry.load().noise is not None
    assert TESTSETS["librimix"].open({**options, "metrics_csv": ""}, tmp_path).notes
    (root / "list.csv").write_text("mixture_ID,mixture_path,source_1_path,source_2_path\na,b,c,d\n")
    with pytest.raises(UsageError, match="two speakers"):
        TESTSETS["librimix"].open(options, tmp_path)


@pytest.mark.parametrize("name", ["voicebank-demand", "wsj0-qut", "dns-challenge", "librimix"])
def test_a_missing_set_names_its_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing") as caught:
        TESTSETS[name].open({}, tmp_path)
    assert "https://" in caught.value.hint
    assert TESTSETS[name].licence in caught.value.hint


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for i in range(4):
        wav(tmp_path / f"speech/valid/s{i % 2}/{i}.wav", seconds=1.0, seed=i)
    wav(tmp_path / "noise/hiss/0.wav", seconds=2.0, seed=9)
    return tmp_path


def test_mixing_drawn_and_rebuilt_from_its_manifest(corpus: Path) -> None:
    drawn = TESTSETS["mixing"].open({"count": 4, "seed": 5}, corpus)
    assert drawn.write_manifest is not None
    drawn.write_manifest(corpus / "m.jsonl")
    rebuilt = TESTSETS["mixing"].open({"manifest": "m.jsonl"}, corpus)
    assert rebuilt.fingerprint() == drawn.fingerprint()
    assert drawn.fingerprint() != TESTSETS["mixing"].open({"count": 4, "seed": 6}, corpus).fingerprint()
    # Entries travel to other processes.
    entry = pickle.loads(pickle.dumps(rebuilt.entries[2]))
    assert entry.load().noisy.tobytes() == drawn.entries[2].load().noisy.tobytes()
    with pytest.raises(UsageError, match="no manifest"):
        TESTSETS["mixing"].open({"manifest": "other.jsonl"}, corpus)


def test_clean_is_its_own_noisy(corpus: Path) -> None:
    found = TESTSETS["clean"].open({"count": 3, "min_utterance": 0.5, "max_seconds": 0.75}, corpus)
    assert len({entry.id for entry in found.entries}) == 3
    # Both speakers appear before either is repeated.
    assert {entry.id.split("_")[1] for entry in found.entries[:2]} == {"s0", "s1"}
    mixture = found.entries[0].load()
    np.testing.assert_array_equal(mixture.clean, mixture.noisy)
    assert mixture.clean.size == 12000


def test_impulsive_noise_is_made_from_its_seed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(corpus / "cache"))
    first = TESTSETS["impulsive"].open({"count": 4}, corpus)
    assert {entry.noise_type for entry in first.entries} == {"clicks", "knocks", "typing", "crackle"}
    mixture = first.entries[0].load()
    assert mixture.noise is not None
    monkeypatch.setenv("XDG_CACHE_HOME", str(corpus / "other"))
    assert TESTSETS["impulsive"].open({"count": 4}, corpus).fingerprint() == first.fingerprint()
    # A few frames contain most of the energy, unlike in stationary noise.
    (folder,) = (corpus / "cache/vae-se").iterdir()
    for path in sorted(folder.glob("[!c]*/0.wav")) + [folder / "clicks/0.wav"]:
        samples, _ = sf.read(path)
        frames = np.sort(np.square(samples[: samples.size // 160 * 160]).reshape(-1, 160).sum(axis=1))[::-1]
        assert frames[: frames.size // 5].sum() > 0.6 * frames.sum(), path
