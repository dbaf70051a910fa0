"""A corpus as one waveform on disk."""

import numpy as np
import pytest
import soundfile

from tests.conftest import speech_like
from vae_se.data import waveforms
from vae_se.data.corpus import scan
from vae_se.data.features import read_normalised
from vae_se.data.waveforms import load_waveforms
from vae_se.errors import AudioError, OutputError
from vae_se.priors import SignalSpec

SIGNAL = SignalSpec(rate=8000, window=256, hop=64, active_rms=0.7)


@pytest.fixture
def corpus(tmp_path):
    """Four files of unlike levels, rates and lengths."""
    for number, (seconds, rate, level) in enumerate(
        [(0.5, 8000, 0.3), (0.3, 16000, 1e-3), (0.8, 8000, 0.05), (0.4, 8000, 0.01)]
    ):
        folder = tmp_path / "speech" / f"s{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        sound = speech_like(seconds, rate, number, level)
        soundfile.write(folder / f"{number}.wav", np.clip(sound, -1, 1), rate, subtype="FLOAT")
    return scan(tmp_path / "speech")


def whole(corpus):
    return [read_normalised(corpus.root / r.path, SIGNAL) for r in corpus.recordings]


def test_cuts_are_the_normalised_files_to_16_bits(corpus, tmp_path):
    waves = load_waveforms(corpus, SIGNAL, tmp_path / "cache")
    files = whole(corpus)
    expected = np.concatenate(files)
    # Half a step of the 16 bits between a file's peaks.
    tolerance = np.concatenate([np.full(f.size, np.abs(f).max() / 32767 * 0.5 + 1e-6) for f in files])
    assert len(waves) == expected.size
    borders = np.cumsum([f.size for f in files])
    cuts = [(0, len(waves)), (0, 0), (len(waves), 0), (len(waves) - 1, 1), (5, 1000)]
    for border in borders[:-1]:
        cuts += [(border - 3, 7), (border - 5, 5), (border, 4), (border - 1, 1)]
    cuts.append((borders[0] - 10, int(borders[2] - borders[0]) + 20))  # two whole files inside
    for start, length in cuts:
        found = waves.cut(int(start), length)
        assert found.dtype == np.float32
        assert found.shape == (length,)
        assert (np.abs(found - expected[start : start + length]) <= tolerance[start : start + length]).all()


def test_cuts_are_copies(corpus, tmp_path):
    waves = load_waveforms(corpus, SIGNAL, tmp_path / "cache")
    first = waves.cut(10, 50)
    first[:] = 9
    assert (waves.cut(10, 50) != 9).all()


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, 10**7), (3, -1)])
def test_cuts_outside_are_errors(corpus, tmp_path, start, length):
    with pytest.raises(ValueError, match="samples"):
        load_waveforms(corpus, SIGNAL, tmp_path / "cache").cut(start, length)


def test_the_cache_is_used_again_and_follows_the_files(corpus, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = load_waveforms(corpus, SIGNAL, cache)
    calls = []
    real = waveforms.read_normalised
    monkeypatch.setattr(waveforms, "read_normalised", lambda *a: calls.append(a) or real(*a))
    again = load_waveforms(corpus, SIGNAL, cache)
    assert not calls
    assert np.array_equal(first.samples, again.samples)
    assert np.array_equal(first.scales, again.scales)
    path = corpus.root / corpus.recordings[0].path
    soundfile.write(path, speech_like(0.7, 8000, 9), 8000)
    assert len(load_waveforms(scan(corpus.root), SIGNAL, cache)) != len(first)
    assert len(calls) == len(corpus.recordings)
    assert not list(cache.glob("*.partial"))


def test_bad_files_are_left_out(corpus, tmp_path):
    (corpus.root / "s0" / "torn.wav").write_bytes(b"no audio")
    soundfile.write(corpus.root / "s0" / "silent.wav", np.zeros(4000), 8000)
    waves = load_waveforms(scan(corpus.root), SIGNAL, tmp_path / "cache")
    assert len(waves.starts) == len(waves.scales) == len(corpus.recordings)
    assert len(waves) == sum(f.size for f in whole(corpus))


def test_nothing_usable_is_an_error_that_leaves_nothing(tmp_path):
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "torn.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match="no usable audio"):
        load_waveforms(scan(tmp_path / "speech"), SIGNAL, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        load_waveforms(corpus, SIGNAL, tmp_path / "file" / "cache")
    assert "--cache" in caught.value.hint
