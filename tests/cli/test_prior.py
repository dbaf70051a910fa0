"""vae-se prior and vae-se info."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil

import numpy as np
import pytest
import soundfile
import torch

from vae_se.priors import store
from vae_se.training import recipes


@pytest.fixture
def speech_folder(wav, make_speech, tmp_path):
    """Two speakers, two files each."""
    for speaker in ("ann", "bob"):
        for take in range(2):
            wav(f"speech/{speaker}/{take}.wav", make_speech(0.6, seed=take + 2 * (speaker == "bob")))
    return tmp_path / "speech"


def test_list(cli):
    ran = cli("prior", "list")
    assert ran.code == 0
    for line in cli("prior", "list", "--json").out.splitlines():
        row = json.loads(line)
        assert row["name"] in ran.out
        assert row["signal"]["rate"] == 16000


def test_show(cli, tiny_prior):
    ran = cli("prior", "show", tiny_prior)
    assert ran.code == 0
    assert "model.latent_dim = 2" in ran.out
    assert json.loads(cli("prior", "show", tiny_prior, "--json").out)["architecture"] == "ffvae"


def test_verify(cli, tiny_prior, speech_folder):
    ran = cli("prior", "verify", tiny_prior)
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "ok"
    found = json.loads(cli("prior", "verify", tiny_prior, "--data", speech_folder, "--json").out)
    assert found["files"] == 4
    assert found["itakura_saito_per_frame"] > 0
    assert found["kl_per_frame"] >= 0


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_weights_that_it_makes(cli, name):
    """The shipped priors were trained by their recipes, with the settings of the commands in their cards; they
    load, and generate sound at the level of speech."""
    if name == "flow-vae-zuko":
        pytest.importorskip("zuko")
    ran = cli("prior", "verify", name, "--json")
    assert ran.code == 0, ran.err
    assert -50 < json.loads(ran.out)["generated_db"] < -10
    training = store.read_config(store.locate(name))["training"]
    words = shlex.split(training["command"])
    settings = [value for option, value in itertools.pairwise(words) if option == "--set"]
    stored, recipe = training["recipe"], recipes.load_recipe(name, settings).as_dict()
    for table in ("model", "signal", "train"):  # a key that is younger than the weights is not stored
        assert stored[table] == {key: recipe[table][key] for key in stored[table]}
    assert stored["architecture"] == recipe["architecture"]


def test_verify_finds_a_damaged_prior(cli, tiny_prior, tmp_path):
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((tiny_prior / name).read_bytes())
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    ran = cli("prior", "verify", tmp_path)
    assert ran.code == 1
    assert ran.err.startswith("error: cannot read")


@pytest.fixture
def with_network(tiny_prior, tmp_path):
    """A prior with a noisy encoder beside it, as ``vae-se train --amortise`` leaves it."""
    from vae_se.noisy_encoder import NoisyEncoder
    from vae_se.noisy_encoder.store import save_noisy_encoder
    from vae_se.priors import load_prior

    shutil.copytree(tiny_prior, tmp_path / "prior")
    prior = load_prior(tiny_prior)
    with torch.random.fork_rng(devices=[]):
        network = NoisyEncoder(prior.signal.stft.bins, prior.latent_dim, width=8, hidden_size=4)
    save_noisy_encoder(
        network,
        prior,
        tmp_path / "prior" / "noisy_encoder",
        training={"options": {"steps": 7}, "noise": "simulated"},
    )
    return tmp_path / "prior", sum(p.numel() for p in network.parameters())


def test_show_and_verify_include_the_noisy_encoder(cli, tiny_prior, with_network):
    folder, parameters = with_network
    assert "noisy_encoder = none" in cli("prior", "show", tiny_prior).out
    assert (
        "noisy_encoder = recurrent, two-way, width 8, hidden size 4, 7 steps on simulated noise"
        in cli("prior", "show", folder).out
    )
    assert "noisy_encoder_parameters" not in cli("prior", "verify", tiny_prior).out
    assert json.loads(cli("prior", "verify", folder, "--json").out)["noisy_encoder_parameters"] == parameters


def test_verify_detects_a_noisy_encoder_of_another_prior(cli, with_network):
    folder, _ = with_network
    config = folder / "noisy_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prior": "another"}))
    ran = cli("prior", "verify", folder)
    assert ran.code == 1
    assert "belongs to another prior" in ran.err
    (folder / "noisy_encoder" / "config.json").unlink()
    assert cli("prior", "verify", folder).code == 1
    assert cli("prior", "show", folder).code == 1


def test_sample(cli, tiny_prior, tmp_path):
    for name, seed in (("a.wav", 3), ("b.wav", 3), ("c.wav", 4)):
        ran = cli("prior", "sample", tiny_prior, "-o", tmp_path / name, "--seconds", 0.5, "--seed", seed)
        assert ran.code == 0, ran.err
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert (sound.shape, rate) == ((8000,), 16000)
    assert 0.005 < np.sqrt(np.mean(sound**2)) < 0.5
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.wav", "b.wav", "c.wav"))
    assert a == b
    assert a != c
    ran = cli("prior", "sample", tiny_prior, "-o", tmp_path / "a.wav")
    assert ran.code == 1
    assert "exists" in ran.err


@pytest.fixture
def two(wav, make_speech):
    """Two recordings of unlike length and rate."""
    return wav("one.wav", make_speech(0.6, seed=1)), wav("two.wav", make_speech(1.0, 8000, seed=2), 8000)


def test_morph(cli, tiny_prior, two, tmp_path):
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "out" / "m.wav", tmp_path / "m.png"
    command = ("prior", "morph", *two, "--prior", tiny_prior, "-o", out)
    ran = cli(*command, "--plot", picture)
    assert ran.code == 0, ran.err
    sound, rate = soundfile.read(out)
    assert rate == 16000
    assert abs(sound.size / rate - 0.8) < 0.03  # the mean of both
    assert 0.005 < np.sqrt(np.mean(sound**2)) < 0.5
    assert picture.read_bytes().startswith(b"\x89PNG")
    ran = cli(*command)
    assert ran.code == 1
    assert "exists" in ran.err
    before = out.read_bytes()
    assert cli(*command, "--overwrite").code == 0
    assert out.read_bytes() == before


def test_morph_in_steps(cli, tiny_prior, two, tmp_path):
    ran = cli("prior", "morph", *two, "--prior", tiny_prior, "-o", tmp_path / "m.wav", "--steps", 3)
    assert ran.code == 0, ran.err
    assert sorted(p.name for p in tmp_path.glob("m*.wav")) == ["m_000.wav", "m_050.wav", "m_100.wav"]


def test_morph_of_what_is_no_sound(cli, tiny_prior, two, wav, tmp_path):
    silent = wav("silent.wav", np.zeros(16000))
    for other, problem in ((silent, "silent"), (tmp_path / "none.wav", "cannot read")):
        ran = cli("prior", "morph", two[0], other, "--prior", tiny_prior, "-o", tmp_path / "m.wav")
        assert ran.code == 1
        assert problem in ran.err
        assert not (tmp_path / "m.wav").exists()


def test_plot(cli, tiny_prior, speech_folder, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "latent.png"
    ran = cli("prior", "plot", tiny_prior, "--data", speech_folder, "-o", picture)
    assert ran.code == 0, ran.err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib(cli, tiny_prior, speech_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    ran = cli("prior", "plot", tiny_prior, "--data", speech_folder, "-o", tmp_path / "x.png")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "error: a plot needs matplotlib, which is not installed",
        "hint: pip install 'vae-se[plot]'",
    ]


def test_plot_of_a_folder_without_speech(cli, tiny_prior, tmp_path):
    ran = cli("prior", "plot", tiny_prior, "--data", tmp_path, "-o", tmp_path / "x.png")
    assert ran.code == 1
    assert "no audio file" in ran.err


def test_info(cli):
    ran = cli("info")
    assert ran.code == 0
    assert "libsndfile" in ran.out
    found = json.loads(cli("info", "--json").out)
    assert "cpu" in found["devices"]
    assert "FLAC" in found["formats"]


def test_an_endless_sample_is_refused(cli, tmp_path):
    ran = cli("prior", "sample", "--seconds", "1e9", "-o", tmp_path / "x.wav")
    assert ran.code == 2
    assert "600" in ran.err.splitlines()[0]
