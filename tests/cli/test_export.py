"""vae-se export, and vae-se enhance --help in sections."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vae_se.noisy_encoder import one_shot
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.network import NoisyEncoder
from vae_se.priors import PRIORS, SignalSpec

SIGNAL = SignalSpec(window=64, hop=16)


def small(kind):
    """A prior and a noisy encoder of 33 bins."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS["ffvae"](hidden=(8,), latent_dim=4, signal=SIGNAL)
        if kind == "recurrent":
            return prior, NoisyEncoder(33, 4, width=8, hidden_size=8)
        return prior, ConvolutionalNoisyEncoder(33, 4, width=8, channels=4, blocks=2)


@pytest.mark.parametrize("kind", ["recurrent", pytest.param("convolutional", marks=pytest.mark.slow)])
def test_the_file_is_the_filter(kind, tmp_path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = one_shot.OneShotFilter(*small(kind))
    path = tmp_path / "filter.onnx"
    assert one_shot.export_onnx(model, path, {"prior": "small"}) < one_shot.TOLERANCE
    known = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert known == {"rate": 16000, "window": 64, "hop": 16, "active_rms": 1.0, "prior": "small"}
    power = np.random.default_rng(0).exponential(size=(1, 21, 33)).astype(np.float32)
    (gain,) = onnxruntime.InferenceSession(path).run(None, {"power": power})
    assert gain.shape == power.shape
    assert ((gain >= 0) & (gain <= 1)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["filter.onnx"]


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(one_shot, "largest_difference", lambda model, path: 0.5)
    with pytest.raises(Exception, match=r"differs from torch by 0\.5"):
        one_shot.export_onnx(one_shot.OneShotFilter(*small("recurrent")), tmp_path / "f.onnx", {})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_says_why(cli, tiny_prior, tmp_path):
    pytest.importorskip("onnxruntime")
    ran = cli("export", "-o", tmp_path / "f.onnx", "--prior", tiny_prior)
    assert (ran.code, "has no noisy encoder" in ran.err) == (2, True)
    ran = cli("export", "-o", tmp_path / "f.pt")
    assert (ran.code, "ends in .onnx" in ran.err) == (2, True)


def test_the_most_used_options_come_first_and_every_option_has_a_section(cli):
    from vae_se.cli.enhance import SECTIONS, enhance

    text = cli("enhance", "--help").out
    first = text[text.index("Most used:") : text.index("What is written:")]
    for option in ("--output", "--preset", "--noise ", "--atten-lim", "--overwrite"):
        assert option in first
    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    options = {param.name for param in enhance.params if param.param_type_name == "option"}
    assert options - set(named) == set()
    assert "Other options:\n  -h, --help" in text
