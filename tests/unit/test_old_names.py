"""Names of release 0.1.0 in priors, noisy encoders and trainings still work, with a warning."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import soundfile
import torch

from tests.conftest import speech_like
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import UsageError
from vae_se.noisy_encoder import NoisyEncoder
from vae_se.noisy_encoder.store import load_noisy_encoder, save_noisy_encoder
from vae_se.priors import PRIORS, load_prior, save_prior
from vae_se.training import loop
from vae_se.training.noisy_encoder import NoisyEncoderOptions
from vae_se.training.prior import PriorJob, train_prior
from vae_se.training.recipes import load_recipe

SETTINGS = ["rate=8000", "window=256", "hop=64", "hidden=[16]", "latent_dim=3", "hidden_size=5", 'start=""',
            "batch_frames=128", "sequence_frames=16", "epochs=2", "checkpoint_steps=3"]  # fmt: skip


def edit(path: Path, change: Any) -> None:
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def to_memory(model: dict[str, Any]) -> None:
    model["memory"] = model.pop("hidden_size")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dynamical prior with a noisy encoder, whose configurations are those of release 0.1.0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS["dkf"](hidden=(8,), latent_dim=2, hidden_size=3)
        network = NoisyEncoder(prior.signal.stft.bins, 2, width=6, hidden_size=4)
    save_prior(prior, tmp_path / "prior", "dkf")
    # Release 0.1.0 stored single precision.
    safetensors.torch.save_file(prior.state_dict(), tmp_path / "prior" / "weights.safetensors")
    beside = tmp_path / "prior" / "recogniser"
    save_noisy_encoder(network, load_prior(tmp_path / "prior"), beside)
    edit(tmp_path / "prior" / "config.json", lambda config: to_memory(config["model"]))

    def rename(config: dict[str, Any]) -> None:
        config["kind"] = "recogniser"
        to_memory(config["model"])

    edit(beside / "config.json", rename)
    return tmp_path / "prior"


def test_the_config_of_a_prior(folder: Path) -> None:
    with pytest.warns(FutureWarning, match=r"'memory' in .*prior.config\.json .*'hidden_size'"):
        prior = load_prior(folder)
    assert prior.config()["hidden_size"] == 3
    with pytest.warns(FutureWarning, match="hidden_size"):
        assert prior.memory == 3  # type: ignore[attr-defined]


def test_the_config_of_a_noisy_encoder(folder: Path) -> None:
    with pytest.warns(FutureWarning):
        prior = load_prior(folder)
    with pytest.warns(FutureWarning) as caught:
        network = load_noisy_encoder(folder / "recogniser", prior)
    messages = [str(warning.message) for warning in caught]
    assert any("'recogniser' in" in m and "use 'noisy_encoder'" in m for m in messages)
    assert any("'memory' in" in m and "use 'hidden_size'" in m for m in messages)
    assert network.hidden_size == 4
    with pytest.warns(FutureWarning, match="hidden_size"):
        assert network.memory == 4


def test_the_folder_beside_a_prior(folder: Path) -> None:
    config = Config().override({"prior": str(folder), "estep.name": "vem"})
    with pytest.warns(FutureWarning, match="the folder name 'recogniser' in .* use 'noisy_encoder'"):
        assert build_em(config, load_prior(folder)).noisy_encoder is not None
    shutil.move(folder / "recogniser", folder / "noisy_encoder")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert build_em(config, load_prior(folder)).noisy_encoder is not None
    assert not any("folder name" in str(warning.message) for warning in caught)


def test_show_and_verify_find_it(folder: Path, cli: Any) -> None:
    ran = cli("prior", "verify", folder, "--json")
    assert ran.code == 0, ran.err
    assert "vae-se: warning: " in ran.err
    assert "is deprecated" in ran.err
    assert "noisy_encoder_parameters" in json.loads(ran.out)


@pytest.mark.parametrize("key", ["memory", "model.memory"])
def test_set_for_a_prior(key: str) -> None:
    with pytest.warns(FutureWarning, match=f"{key} is deprecated.*hidden_size"):
        recipe = load_recipe("dkf", [f"{key}=7"])
    assert recipe.model["hidden_size"] == 7
    assert "memory" not in recipe.model
    with pytest.warns(FutureWarning), pytest.raises(UsageError, match="unknown key"):
        load_recipe("ffvae", [f"{key}=7"])


def test_a_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('architecture = "dkf"\n[model]\nmemory = 9\n')
    with pytest.warns(FutureWarning, match="hidden_size"):
        assert load_recipe(str(tmp_path / "mine.toml")).model == {"hidden_size": 9}


def test_set_for_a_noisy_encoder() -> None:
    with pytest.warns(FutureWarning, match="memory is deprecated.*hidden_size"):
        assert NoisyEncoderOptions.of(["architecture=recurrent", "memory=7"]).hidden_size == 7


def test_names_in_python() -> None:
    from vae_se.data import corpus
    from vae_se.priors import flow_vae, squared_error
    from vae_se.priors.dynamical import posterior
    from vae_se.training import mixtures, prior, resynthesis

    for module, old, new in (
        (flow_vae, "BentVAE", "FlowPosteriorVAE"),
        (posterior, "moved", "reparameterised"),
        (resynthesis, "SayAgain", "Reconstruct"),
        (squared_error, "log_normal_misfit", "log_normal_nll"),
        (corpus, "Recording", "CorpusFile"),
        (mixtures, "Batch", "MixtureBatch"),
        (prior, "Job", "PriorJob"),
    ):
        with pytest.warns(FutureWarning, match=new):
            assert getattr(module, old) is getattr(module, new)
        with pytest.raises(AttributeError):
            module.Nothing  # noqa: B018
    with pytest.warns(FutureWarning, match=r"training\.prior"):
        from vae_se.training.run import train_prior as old_one
    assert old_one is prior.train_prior


# ---- checkpoints


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    for speaker in range(3):
        (root / f"s{speaker}").mkdir()
        soundfile.write(root / f"s{speaker}" / "a.wav", speech_like(2.0, 8000, speaker), 8000)
    return root


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int, train: Any) -> None:
    real, done = loop.Trainer._step, 0

    def dying(*arguments: Any) -> None:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", dying)
        with pytest.raises(Killed):
            train()


def as_of_0_1(path: Path, former: str) -> None:
    """Turn a checkpoint into one of release 0.1.0."""
    saved = torch.load(path, weights_only=True)
    assert saved["identity"] != former
    saved["identity"] = former
    torch.save(saved, path)


def test_the_checkpoint_of_a_prior(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = PriorJob(
        data=speech, out=tmp_path / "a", recipe=load_recipe("dkf", SETTINGS), cache=tmp_path / "cache",
        valid_fraction=0.3, score_files=0,
    )  # fmt: skip
    unbroken = dataclasses.replace(job, out=tmp_path / "b")
    train_prior(unbroken)
    kill_after(monkeypatch, 5, lambda: train_prior(job))
    recipe = job.recipe.as_dict()
    recipe["model"] = {"memory" if k == "hidden_size" else k: v for k, v in recipe["model"].items()}
    key = json.loads((unbroken.out / "config.json").read_text())["training"]["data"]["key"]
    as_of_0_1(job.out / "checkpoint.pt", job.identity(recipe, key).current)
    with pytest.warns(FutureWarning, match="'memory' in .*checkpoint.pt .*'hidden_size'"):
        train_prior(job)
    a, b = ((folder / "weights.safetensors").read_bytes() for folder in (job.out, unbroken.out))
    assert a == b
