"""vae-se noise, and vae-se enhance --noise FILE."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from vae_se.noise.store import load_dictionary

RATE = 16000


def peaky(seconds: float, seed: int) -> np.ndarray:
    """Two resonances that come and go, (T,): neither speech-like nor stationary."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros(time.size)
    for frequency, speed in ((900, 1.7), (2300, 2.9)):
        pole = 0.99 * np.exp(2j * np.pi * frequency / RATE)
        wave = lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], rng.standard_normal(time.size))
        sound += wave / wave.std() * (1 + 0.9 * np.sin(2 * np.pi * speed * time + rng.uniform(0, 6)))
    return 0.05 * sound / sound.std()


def si_sdr(clean: np.ndarray, estimate: np.ndarray) -> float:
    """Le Roux et al., SDR - half-baked or well done?, 2019, in dB."""
    target = (estimate @ clean) / (clean @ clean) * clean
    return float(10 * np.log10((target @ target) / np.sum((target - estimate) ** 2)))


@pytest.fixture
def dictionary(cli, wav, tiny_prior, tmp_path):
    for seed in range(2):
        wav(f"noise/{seed}.wav", peaky(2.0, seed))
    path = tmp_path / "noise.safetensors"
    ran = cli("noise", "fit", tmp_path / "noise", "--out", path, "--rank", 4, "--prior", tiny_prior)
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert "of 2 files" in ran.err
    return path


def test_fit_and_show(cli, dictionary, tiny_prior, tmp_path):
    found = load_dictionary(dictionary)
    assert found.atoms.shape == (4, 513)
    assert [name.rsplit("/")[-1] for name in found.sources] == ["0.wav", "1.wav"]
    ran = cli("noise", "show", dictionary)
    assert ran.code == 0
    assert "rank = 4" in ran.out
    shown = json.loads(cli("noise", "show", dictionary, "--json").out)
    medians = [middle for _, middle, _ in shown["hertz"]]
    assert shown["window"] == 1024
    for frequency in (900, 2300):
        assert min(abs(m - frequency) for m in medians) < 100
    again = tmp_path / "again.safetensors"
    options = ("--rank", 4, "--prior", tiny_prior, "-q")
    ran = cli("noise", "fit", tmp_path / "noise", "--out", again, *options)
    assert (ran.code, ran.err) == (0, "")
    assert again.read_bytes() == dictionary.read_bytes()


def test_a_dictionary_of_the_noise_helps(cli, wav, make_speech, dictionary, tiny_prior, tmp_path):
    clean = make_speech(2.0, seed=9)
    path = wav("x.wav", clean + peaky(2.0, seed=7), subtype="FLOAT")
    options = ("--prior", tiny_prior, "--set", "inference.iterations=25", "--device", "cpu", "--overwrite")
    scores = {}
    for name in ("nmf", dictionary):
        ran = cli("enhance", path, "-o", tmp_path / "y.wav", "--noise", name, *options)
        assert ran.code == 0, ran.err
        scores[name] = si_sdr(clean, soundfile.read(tmp_path / "y.wav")[0])
    assert scores[dictionary] > scores["nmf"] + 0.5, scores


def test_free_atoms_and_the_configuration(cli, wav, make_noisy, dictionary, tiny_prior, tmp_path):
    path = wav("x.wav", make_noisy(0.5))
    options = ("--prior", tiny_prior, "--noise", dictionary, "--set", "inference.iterations=2")
    assert cli("enhance", path, *options, "--set", "noise.free=2").code == 0
    printed = cli("enhance", *options, "--print-config").out
    assert 'name = "dictionary"' in printed
    (tmp_path / "c.toml").write_text(printed)
    assert cli("enhance", path, "--config", tmp_path / "c.toml", "-o", tmp_path / "z.wav").code == 0


def test_errors(cli, wav, make_noisy, dictionary, tiny_prior, tmp_path):
    path = wav("x.wav", make_noisy(0.2))
    (tmp_path / "empty").mkdir()
    wav("silent/x.wav", np.zeros(4000))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(dictionary.read_bytes()[:-9])
    fit = ("noise", "fit")
    prior = ("--prior", tiny_prior)
    new = tmp_path / "new.safetensors"
    for code, arguments, words in (
        (2, (*fit, tmp_path / "noise", "--out", tmp_path / "x.npz"), ".safetensors"),
        (1, (*fit, tmp_path / "noise", "--out", dictionary), "exists"),
        (1, (*fit, tmp_path / "empty", "--out", new, *prior), "no audio file"),
        (1, (*fit, tmp_path / "silent", "--out", new, *prior), "only silence"),
        (2, (*fit, tmp_path / "noise", "--out", new, *prior, "--rank", 9999), "frames of noise"),
        (1, ("noise", "show", cut), "cannot read"),
        (1, ("enhance", path, *prior, "--noise", cut), "cannot read"),
        (1, ("enhance", path, *prior, "--noise", new), "does not exist"),
        (2, ("enhance", path, *prior, "--noise", "dictionary"), "needs a file"),
        (2, ("enhance", path, *prior, "--noise-from", "soon"), "no time range"),
        (2, ("enhance", path, *prior, "--noise-from", "0-1", "--noise", "nmf"), "give one of them"),
        (1, ("enhance", path, *prior, "--noise-from", "0-99"), "leaves the recording"),
        (2, ("enhance", path, *prior, "--noise", dictionary, "--set", "noise.rank=3"), "noise.rank"),
    ):
        ran = cli(*arguments)
        assert ran.code == code, (arguments, ran.err)
        assert words in ran.err, (arguments, ran.err)
        assert len(ran.err.splitlines()) == 2, ran.err
    assert not new.exists()


def test_a_link_that_leads_nowhere(cli, tmp_path):
    folder = tmp_path / "noise"
    folder.mkdir()
    (folder / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    ran = cli("noise", "fit", folder, "-o", tmp_path / "n.safetensors")
    assert ran.code == 1
    assert "is a link to" in ran.err.splitlines()[0]
    assert "nowhere.wav, which does not exist" in ran.err.splitlines()[0]
    assert len(ran.err.splitlines()) == 2
    (tmp_path / "folder").symlink_to(tmp_path / "no-folder")
    ran = cli("noise", "fit", tmp_path / "folder", "-o", tmp_path / "n.safetensors")
    assert "folder is a link to" in ran.err


# ---- simulated noise


def test_pool_is_drawn_and_never_overwritten(cli, monkeypatch, tmp_path):
    from vae_se.noisy_encoder.simulation import pool

    class Here:
        """One process, this one: a spawned one would import torch anew."""

        def Pool(self, processes):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def imap_unordered(self, work, tasks, chunksize):
            return map(work, tasks)

    monkeypatch.setattr(pool.multiprocessing, "get_context", lambda _: Here())
    arguments = ["noise", "pool", tmp_path / "pool", "--items", 3, "--seconds", 0.2, "--seed", 4]
    ran = cli(*arguments, "-q")
    assert ran.code == 0, ran.err
    assert sum(int(line.split()[1]) for line in ran.out.splitlines()) == 3
    drawn = pool.open_pool(tmp_path / "pool")
    assert (len(drawn), drawn.seed, drawn.samples.shape) == (3, 4, (3, 3200))
    ran = cli(*arguments[:-1], 5)
    assert ran.code == 1
    assert "holds another pool" in ran.err


def test_pool_arguments(cli, tmp_path):
    assert cli("noise", "pool", tmp_path / "pool", "--items", 0).code == 2
    assert not (tmp_path / "pool").exists()
