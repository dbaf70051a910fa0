"""Weights in half precision: stored tensors, loss of accuracy, and the script that converts a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.conftest import ROOT, speech_like
from vae_se.audio.level import active_rms
from vae_se.noisy_encoder import NoisyEncoder
from vae_se.noisy_encoder.store import belongs, load_noisy_encoder, prior_digest, save_noisy_encoder
from vae_se.priors import load_prior, store


def originals(name: str) -> Path:
    """Folder of the prior ``name`` with float32 matrices; the test is skipped where there is none."""
    elsewhere = os.environ.get("VAE_SE_ORIGINAL_WEIGHTS")
    for folder in (Path(elsewhere) / name if elsewhere else None, store.locate(name)):
        if folder is not None and (folder / "weights.safetensors").is_file():
            tensors = safetensors.torch.load_file(folder / "weights.safetensors")
            if all(t.dtype != torch.float16 for t in tensors.values()):
                return folder
    pytest.skip("the original weights are not at hand (set VAE_SE_ORIGINAL_WEIGHTS to their folder)")


@pytest.mark.parametrize("name", store.names())
def test_a_forward_pass_agrees_with_the_original_to_the_third_digit(name: str) -> None:
    if name == "flow-vae-zuko":
        pytest.importorskip("zuko")
    original = load_prior(originals(name))
    half = load_prior(name)
    half.load_state_dict(store.stored_tensors(half))  # changes nothing where they are in half precision already
    sound = speech_like(1.0, 16000, 3)
    waveform = torch.from_numpy(sound / active_rms(sound, 16000)).float()
    power = original.signal.stft.analyse(waveform).abs().square()[None]
    with torch.no_grad():
        a, b = (prior.reconstruct(power, torch.Generator().manual_seed(0)) for prior in (original, half))
        difference = a.log_variance - b.log_variance
        assert difference.square().mean().sqrt() < 5e-3  # nats
        assert difference.abs().max() < 0.02
        nll, rounded = (p.nll(power, r.log_variance).mean().item() for p, r in ((original, a), (half, b)))
        assert rounded == pytest.approx(nll, rel=1e-3)
        assert b.kl.sum().item() == pytest.approx(a.kl.sum().item(), rel=1e-3)
        means = original.encode(power).mean, half.encode(power).mean
        torch.testing.assert_close(*means, rtol=1e-3, atol=5e-3)


def test_matrices_are_stored_in_half_precision_and_nothing_else(tiny_prior: Path) -> None:
    prior = load_prior(tiny_prior)
    with torch.no_grad():
        prior.decoder[0].weight[0, 0] = 1e5  # beyond the range of float16
    stored = store.stored_tensors(prior)
    single = {name for name, tensor in stored.items() if tensor.dtype != torch.float16}
    assert single == {"decoder.0.weight"} | {name for name, t in stored.items() if t.ndim == 1}
    assert stored["decoder.0.weight"][0, 0] == 1e5
    assert all(torch.equal(stored[name], prior.state_dict()[name]) for name in single)
    assert all(p.dtype == torch.float32 for p in load_prior(tiny_prior).parameters())


def test_the_script_converts_a_prior_and_its_noisy_encoder(tiny_prior: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prior"
    shutil.copytree(tiny_prior, folder)
    prior = load_prior(folder)
    with torch.no_grad():
        prior.decoder[0].weight.add_(1e-4)
    safetensors.torch.save_file(prior.state_dict(), folder / "weights.safetensors")  # as release 0.1.0 did
    training = json.loads((ROOT / "pretrained/default/noisy_encoder/config.json").read_text())["training"]
    network = NoisyEncoder(prior.signal.stft.bins, prior.latent_dim, width=8, hidden_size=4)
    save_noisy_encoder(network, load_prior(folder), folder / "noisy_encoder", training=training)
    shutil.copy(ROOT / "pretrained/default/noisy_encoder/history.jsonl", folder / "noisy_encoder")
    before = load_noisy_encoder(folder / "noisy_encoder", load_prior(folder)).state_dict()

    path = ROOT / "eval/scripts/half_precision.py"
    spec = importlib.util.spec_from_file_location("half_precision", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main([folder, tmp_path])
    converted = load_prior(folder)
    assert prior_digest(converted) != prior_digest(prior)
    assert belongs(folder / "noisy_encoder", converted)
    assert prior_digest(converted) in (folder / "noisy_encoder" / "README.md").read_text()
    after = load_noisy_encoder(folder / "noisy_encoder", converted).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    weights = (folder / "weights.safetensors").read_bytes()
    script.main([folder])  # once more: nothing changes
    assert (folder / "weights.safetensors").read_bytes() == weights
