"""Noise dictionaries: learning, saving, loading, assembling."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from tests.toys import SIGNAL, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import NoiseError, OutputError, UsageError
from vae_se.noise.dictionary import fit
from vae_se.noise.store import NoiseDictionary, load_dictionary, save_dictionary

BINS = SIGNAL.stft.bins


def planted(frames: int = 400, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three spectra (3, F) of mean 1, and exponentially distributed powers (N, F) of their mixtures."""
    generator = torch.Generator().manual_seed(4)
    bins = torch.arange(BINS)
    w = torch.stack([torch.exp(-0.5 * ((bins - centre) / 2.5) ** 2) + 0.01 for centre in (5, 14, 26)])
    w = w / w.mean(-1, keepdim=True)
    h = torch.rand(frames, 3, generator=generator) ** 3
    return w, (h @ w) * scale * -torch.log1p(-torch.rand(frames, BINS, generator=generator))


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "noise.safetensors"
    save_dictionary(NoiseDictionary(planted()[0], SIGNAL.rate, SIGNAL.window, SIGNAL.hop, ("a.wav",)), path)
    return path


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_fit_recovers_a_planted_dictionary(scale):
    truth, power = planted(scale=scale)
    atoms, divergence = fit(power, 3, 200)
    assert atoms.shape == truth.shape
    torch.testing.assert_close(atoms.mean(-1), torch.ones(3))
    likeness = torch.nn.functional.cosine_similarity(truth[:, None], atoms[None], dim=-1)
    assert sorted(likeness.argmax(1).tolist()) == [0, 1, 2]
    assert (likeness.max(1).values > 0.97).all()
    # Euler's constant, reduced by three free activations per frame of 33 bins.
    assert 0.45 < divergence < 0.577


def test_fit_comes_closer_with_each_iteration_and_depends_on_its_seed_alone():
    _, power = planted(100)
    falls = torch.tensor([fit(power, 3, n)[1] for n in range(1, 30)]).diff()
    assert (falls <= 1e-5).all()
    assert torch.equal(fit(power, 3, 5, seed=1)[0], fit(power, 3, 5, seed=1)[0])
    assert not torch.equal(fit(power, 3, 5, seed=1)[0], fit(power, 3, 5, seed=2)[0])
    with pytest.raises(UsageError, match="2 frames"):
        fit(power[:2], 3, 5)


def test_round_trip(stored):
    found = load_dictionary(stored)
    torch.testing.assert_close(found.atoms, planted()[0])
    assert (found.rate, found.window, found.hop) == (SIGNAL.rate, SIGNAL.window, SIGNAL.hop)
    assert found.sources == ("a.wav",)
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]
    with pytest.raises(OutputError, match="cannot write"):
        save_dictionary(found, stored / "below" / "noise.safetensors")


def rewritten(path, atoms=None, tensor="atoms", **header):
    """Write the file with other contents; a header entry of None is removed."""
    before = load_dictionary(path)
    entries = {k: v for k, v in {**before.header(), **header}.items() if v is not None}
    strings = {"vae-se noise dictionary": json.dumps(entries)}
    path.write_bytes(safetensors.torch.save({tensor: before.atoms if atoms is None else atoms}, strings))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"hop": None}, "has no 'hop'"),
        ({"colour": "pink"}, "unknown key 'colour'"),
        ({"rate": "high"}, "rate is 'high'"),
        ({"rate": 0}, "rate is 0"),
        ({"rank": 2}, "header says"),
        ({"tensor": "spectra"}, "expected atoms"),
        ({"atoms": torch.full((3, BINS), torch.nan)}, "not finite"),
        ({"atoms": torch.zeros(3, BINS)}, "above 0"),
        ({"atoms": torch.ones(3, 7)}, "header says"),
    ],
)
def test_files_that_are_no_dictionary(stored, changes, words):
    rewritten(stored, **changes)
    with pytest.raises(NoiseError, match=words):
        load_dictionary(stored)


def test_files_that_cannot_be_read(stored):
    whole = stored.read_bytes()
    for part in (0, 5, 100, len(whole) - 1):
        stored.write_bytes(whole[:part])
        with pytest.raises(NoiseError, match="cannot read"):
            load_dictionary(stored)
    stored.write_bytes(safetensors.torch.save({"atoms": torch.ones(3, BINS)}))
    with pytest.raises(NoiseError, match="no noise dictionary"):
        load_dictionary(stored)
    with pytest.raises(NoiseError, match="does not exist"):
        load_dictionary(stored.with_name("none.safetensors"))


def build(**settings):
    return build_em(Config().override({f"noise.{key}": value for key, value in settings.items()}), tiny_prior())


def test_assembled_with_the_settings_that_it_has(stored):
    noise = build(name="dictionary", file=str(stored), free=2, init_scale=1.0).noise
    assert (noise.free, noise.init_scale, noise.init_spectrum) == (2, 1.0, "quiet")
    assert build(name="dictionary", file=str(stored)).noise.free is None
    assert build(rank=5).noise.rank == 5
    for settings, words in (
        ({"name": "dictionary", "file": str(stored), "rank": 4}, "no setting noise.rank"),
        ({"name": "dictionary", "file": str(stored), "rank": 8}, "no setting noise.rank"),
        ({"name": "dictionary", "file": str(stored), "noise_segment": "0-1"}, "a file, or a noise segment"),
        ({"name": "dictionary", "noise_segment": "2-1"}, "ends before"),
        ({"name": "nmf", "sparsity": -1.0}, "noise.sparsity = -1"),
        ({"name": "student-t", "dof": 0.0}, "noise.dof = 0"),
        ({"name": "alpha-stable", "alpha": 2.0}, "noise.alpha = 2"),
        ({"name": "nmf", "file": str(stored)}, "no setting noise.file"),
        ({"name": "nmf", "free": 1}, "no setting noise.free"),
        ({"name": "nmf", "rank": 0}, "noise.rank = 0"),
        ({"name": "dictionary", "file": str(stored), "free": -1}, "noise.free = -1"),
        ({"name": "dictionary"}, "needs a file"),
    ):
        with pytest.raises(UsageError, match=words):
            build(**settings)


def test_another_stft_than_the_priors(stored):
    rewritten(stored, hop=32)
    with pytest.raises(NoiseError, match="hop 32"):
        build(name="dictionary", file=str(stored))


def test_settings_survive_toml(tmp_path):
    given = Config().set("noise.name=dictionary", "noise.file=x.safetensors", "noise.free=2")
    for settings in (Config(), given):
        (tmp_path / "c.toml").write_text(settings.to_toml())
        assert Config.from_toml(tmp_path / "c.toml") == settings
