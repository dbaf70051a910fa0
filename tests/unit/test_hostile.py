"""What strangers write: nothing runs, nothing is allocated on their word, nothing leads out of its folder."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import vae_se
from vae_se.audio import files, paths
from vae_se.data.manifest import read_manifest, write_manifest
from vae_se.data.mixing import Draw, MixingRecipe
from vae_se.errors import AudioError, PriorError, UsageError
from vae_se.noisy_encoder.network import NoisyEncoder
from vae_se.noisy_encoder.store import load_noisy_encoder, save_noisy_encoder
from vae_se.priors import load_prior
from vae_se.storage.untrusted import JSON_LIMIT, load_tensors
from vae_se.training.checkpoint import load_checkpoint

PACKAGE = Path(vae_se.__file__).parent


def test_no_pickle_is_loaded():
    """The one file that torch.load sees is a training's own checkpoint, and there it may hold tensors
    only."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "dill", "joblib", "shelve", "marshal"} & set(names), path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "yaml.load"), path
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if called == "torch.load":
                    found.append((path.name, options.get("weights_only")))
                if called in ("np.load", "numpy.load"):
                    assert options.get("allow_pickle", "False") == "False", path
    assert found == [("checkpoint.py", "True")]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("dump", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, 2))])
def test_a_checkpoint_that_would_run_something_does_not(tmp_path, dump):
    path, mark = tmp_path / "checkpoint.pt", tmp_path / "ran"
    dump(Bomb(mark), path)
    model = torch.nn.Linear(1, 1)
    with pytest.raises(PriorError, match="cannot read"):
        load_checkpoint(path, "x", model, torch.optim.Adam(model.parameters()))
    assert not mark.exists()


@pytest.fixture
def prior_folder(tiny_prior, tmp_path):
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((tiny_prior / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", {"hidden": [10**9, 10**9], "latent_dim": 2}),
        ("model", {"hidden": [16], "latent_dim": 10**30}),
        ("model", {"hidden": [-1], "latent_dim": 2}),
        ("model", {"hidden": "abc"}),
        ("model", None),
        ("model", []),
        ("architecture", []),
        ("architecture", "os.system"),
        ("signal", {"rate": 0}),
        ("signal", {"rate": 10**12}),
        ("signal", {"window": 10**12, "hop": 10**11}),
        ("signal", {"window": 1024.0}),
        ("signal", {"hop": True}),
        ("signal", {"active_rms": float("nan")}),
        ("signal", {"active_rms": 10**400}),
        ("signal", "x"),
        ("format", [[]]),
    ],
)
def test_configurations_of_priors(prior_folder, key, value):
    path = prior_folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PriorError) as error:
        load_prior(prior_folder)
    assert error.value.hint
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", "\ud800", " " * (JSON_LIMIT + 1)]
)
def test_texts_that_are_no_configuration(prior_folder, text):
    (prior_folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PriorError, match="cannot read"):
        load_prior(prior_folder)


def test_weights_that_are_no_numbers(prior_folder):
    path = prior_folder / "weights.safetensors"
    good = load_tensors(path)
    name = next(iter(good))
    for bad in (torch.full_like(good[name], torch.inf), good[name].to(torch.float8_e5m2), good[name] + 0j):
        safetensors.torch.save_file(good | {name: bad}, path)
        with pytest.raises(PriorError, match="cannot read"):
            load_prior(prior_folder)


@pytest.mark.parametrize("size", [10**9, 10**30, -1, 0, "x", None, 1.5])
def test_configurations_of_recognition_networks(tiny_prior, tmp_path, size):
    prior = load_prior(tiny_prior)
    save_noisy_encoder(NoisyEncoder(513, 2, 8, 4), prior, tmp_path)
    load_noisy_encoder(tmp_path, prior)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["model"]["hidden_size"] = size
    path.write_text(json.dumps(config))
    with pytest.raises(PriorError):
        load_noisy_encoder(tmp_path, prior)


def manifest(tmp_path, **changes):
    row = {
        "id": "0000_a", "speech": ("a.wav",), "speech_sha256": ("0",), "speech_gain": 1.0, "samples": 1600,
        "noise": "n.wav", "noise_sha256": "0", "noise_offset": 0, "noise_looped": False, "noise_gain": 0.5,
        "snr_db": 5.0, "noise_type": "n", "speaker": "a", "rate": 16000, "seed": 0,
    }  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, MixingRecipe(), [Draw(**(row | changes))])
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../x"},
        {"id": "/tmp/x"},
        {"speech": ("../../secret.wav",)},
        {"noise": "/etc/passwd"},
        {"noise": "a\0b"},
        {"rate": 1},
        {"rate": "fast"},
        {"samples": "many"},
        {"speech": 5},
        {"noise_gain": [1]},
    ],
)
def test_manifests_stay_in_their_folders(tmp_path, changes):
    assert read_manifest(manifest(tmp_path))[1][0].id == "0000_a"
    with pytest.raises(UsageError, match="not a manifest") as error:
        read_manifest(manifest(tmp_path, **changes))
    assert error.value.hint


@pytest.mark.parametrize("line", ["[" * 100_000, "[]", "5", "{}", '{"format": []}'])
def test_lines_that_are_no_draw(tmp_path, line):
    path = manifest(tmp_path)
    for lines in ([line], [path.read_text().splitlines()[0], line]):
        path.write_text("\n".join(lines))
        with pytest.raises(UsageError, match="not a manifest"):
            read_manifest(path)


@pytest.mark.parametrize(
    "name", ["{stem:>1000000000}", "{stem.__class__}{ext}", "{stem!r}{ext}", "{stem[0]}{ext}", "{}.wav"]
)
def test_name_templates_say_a_name_and_nothing_else(name):
    source = paths.Source("a.wav", Path("a.wav"), Path("a.wav"))
    with pytest.raises(UsageError, match="unknown field"):
        paths.output_name(source, name, "mcem")


def test_globs_cannot_lead_out_of_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a/x.wav", "y.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    inside = paths.plan(paths.collect(["in/*/../a/x.wav"]), "out/", many=True)
    assert [str(job.target) for job in inside] == ["out/a/x_enhanced.wav"]
    with pytest.raises(UsageError, match="outside of out"):
        paths.plan(paths.collect(["in/*/../../y.wav"]), "out/", many=True)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN or infinite"), (1e16, r"beyond 1e\+15"), (-1e300, "beyond")]
)
def test_samples_that_are_no_sound(wav, value, kind):
    samples = np.zeros(100)
    samples[[3, 7]] = value
    path = wav("x.wav", samples, 1000, subtype="DOUBLE")
    with pytest.raises(AudioError, match=rf"2 samples are {kind}.*the first at 0\.003 s"):
        files.read(path)
