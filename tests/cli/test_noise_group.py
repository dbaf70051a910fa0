"""vae-se enhance --noise-group, and its parts."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from tests.cli.test_noise import RATE, peaky, si_sdr
from vae_se import Enhancer
from vae_se.audio import paths
from vae_se.cli.groups import groups
from vae_se.enhancement.shared_noise import share_noise, sharing
from vae_se.errors import AudioError
from vae_se.noise.store import save_dictionary


@pytest.fixture
def recordings(wav, make_speech):
    """Two folders with a noise each: two resonances that come and go in a, white noise in b."""
    rng = np.random.default_rng(5)
    for seed in range(3):
        wav(f"in/a/{seed}.wav", make_speech(1.5, seed=seed) + peaky(1.5, seed), subtype="FLOAT")
        wav(
            f"in/b/{seed}.wav", make_speech(1.5, seed=seed) + 0.02 * rng.standard_normal(24000), subtype="FLOAT"
        )


@pytest.fixture
def options(tiny_prior):
    return ("--prior", tiny_prior, "--set", "inference.iterations=4", "--device", "cpu", "--noise-group")


def outputs(folder):
    return {str(p.relative_to(folder)): soundfile.read(p)[0] for p in sorted(folder.rglob("*.wav"))}


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.slow
def test_the_same_bits_whatever_the_order_the_jobs_and_what_is_done_already(
    cli, recordings, options, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = ["--batch", 1, *options]  # batches pad, and so may round otherwise
    source = tmp_path / "in"
    ran = cli("enhance", source, "-o", tmp_path / "out", *options, "folder")
    assert ran.code == 0, ran.err
    assert ran.err.count("learning the noise of") == 2
    expected = outputs(tmp_path / "out")
    assert len(expected) == 6
    assert cli("enhance", source, "-o", tmp_path / "jobs", *options, "folder", "-j", 2).code == 0
    same(outputs(tmp_path / "jobs"), expected)
    assert cli("enhance", source, "-o", tmp_path / "batch", *options, "folder", "--batch", 4).code == 0
    for name, wave in outputs(tmp_path / "batch").items():
        np.testing.assert_allclose(wave, expected[name], atol=1e-4)
    backwards = [tmp_path / "in" / name for name in ("b/2.wav", "b/0.wav", "b/1.wav")]
    assert cli("enhance", *backwards, "-o", tmp_path / "back", *options, "folder").code == 0
    same(outputs(tmp_path / "back"), {k[2:]: v for k, v in expected.items() if k.startswith("b/")})
    # A deleted output is reproduced exactly, although the other outputs are skipped.
    lost = tmp_path / "out" / "a" / "1_enhanced.wav"
    lost.unlink()
    assert cli("enhance", source, "-o", tmp_path / "out", *options, "folder").code == 0
    same(outputs(tmp_path / "out"), expected)


def test_folders_have_their_own_noise_and_all_have_one(cli, recordings, options, tmp_path):
    found = {}
    for how in ("folder", "all"):
        ran = cli("enhance", tmp_path / "in", "-o", tmp_path / how, *options, how, "-q")
        assert (ran.code, ran.err) == (0, "")
        found[how] = outputs(tmp_path / how)
    assert any(not np.array_equal(found["folder"][name], found["all"][name]) for name in found["all"])


def test_groups_are_by_folder_sorted_and_of_two_at_least(tmp_path, wav):
    names = ["x/2.wav", "x/1.wav", "y/1.wav"]
    files = [wav(name, np.zeros(10)) for name in names]
    sources = paths.collect([str(f) for f in files] + [str(tmp_path / "missing.wav"), "-"])
    found = groups(sources, "folder")
    assert [[str(s.path.relative_to(tmp_path)) for s in members] for members in found] == [
        ["x/1.wav", "x/2.wav"]
    ]
    found = groups(sources, "all")
    assert [[str(s.path.relative_to(tmp_path)) for s in members] for members in found] == [
        ["x/1.wav", "x/2.wav", "y/1.wav"]
    ]


def test_what_goes_wrong(cli, wav, make_noisy, options, tiny_prior, tmp_path):
    good = [wav(f"g/{i}.wav", make_noisy(0.6, seed=i)) for i in range(2)]
    (tmp_path / "g" / "bad.wav").write_bytes(b"RIFF")
    wav("g/nan.wav", np.full(8000, np.nan), subtype="FLOAT")
    ran = cli("enhance", tmp_path / "g", "-o", tmp_path / "out", *options, "folder")
    assert ran.code == 1
    assert "warning" not in ran.err
    assert ran.err.count("error: ") == 2
    assert len(outputs(tmp_path / "out")) == 2
    for i in range(2):
        wav(f"silent/{i}.wav", np.zeros(8000))
    ran = cli("enhance", tmp_path / "silent", "-o", tmp_path / "quiet", *options, "folder")
    assert ran.code == 0
    assert "too little sound" in ran.err
    for more, words in (
        (("--method", "log-mmse"), "has no noise model"),
        (("--noise-from", "0-0.5"), "and a known noise"),
    ):
        ran = cli("enhance", *good, "-o", tmp_path / "out", *options, "folder", *more)
        assert ran.code == 2, (more, ran.err)
        assert words in ran.err


def test_the_noise_of_the_others_is_learnt(tiny_prior, make_speech, tmp_path):
    """The shared spectra have the frequencies of the noise, for all levels, rates and channels."""
    enhancer = Enhancer.from_pretrained(tiny_prior, device="cpu", inference__iterations=10)
    clean = [make_speech(2.0, seed=seed) for seed in range(3)]
    noisy = [speech + 3 * peaky(2.0, seed) for seed, speech in enumerate(clean)]
    items = [(1e-3 * noisy[0], RATE), (np.stack([noisy[1], noisy[1]]), RATE), (noisy[2], RATE)]
    dictionary = share_noise(enhancer, items, ("a", "b", "c"))
    assert dictionary.sources == ("a", "b", "c")
    assert dictionary.atoms.shape == (16, 513)
    torch.testing.assert_close(dictionary.atoms.mean(-1), torch.ones(16))
    mean = dictionary.atoms.mean(0)
    for hertz in (900, 2300):
        bin_ = round(hertz * 1024 / RATE)
        assert mean[bin_ - 3 : bin_ + 4].max() > 5
    path = tmp_path / "n.safetensors"
    save_dictionary(dictionary, path)
    enhanced = sharing(enhancer, path).enhance(noisy[0], RATE)
    assert si_sdr(clean[0], enhanced) > si_sdr(clean[0], noisy[0])
    with pytest.raises(AudioError, match="too little"):
        share_noise(enhancer, [])
