"""EnhancerModule is a torch.nn.Module: shapes, padding, devices, state, files. Priors store themselves."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import vae_se
from tests.conftest import noisy_like, speech_like
from vae_se.errors import UsageError
from vae_se.nn import EnhancerModule
from vae_se.priors.ffvae import FFVAE
from vae_se.priors.gamma_vae import GammaVAE

FEW = {"inference__iterations": 2, "inference__averaging": 1}


@pytest.fixture(scope="module")
def module(tiny_prior: Path) -> EnhancerModule:
    return EnhancerModule.from_pretrained(tiny_prior, **FEW)


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    """(2, 2, T)."""
    waveforms = [[noisy_like(0.4, seed=2 * b + c) for c in range(2)] for b in range(2)]
    return torch.from_numpy(np.array(waveforms)).float()


def test_a_batch_gives_what_the_enhancer_gives_one_by_one(module: EnhancerModule, batch: torch.Tensor) -> None:
    speech = module(batch)
    assert speech.shape == batch.shape
    assert speech.dtype == batch.dtype
    for noisy, found in zip(batch, speech, strict=True):
        torch.testing.assert_close(found, module.enhancer.enhance(noisy, 16000), atol=2e-5, rtol=0)


def test_lengths_of_a_ragged_batch(module: EnhancerModule, batch: torch.Tensor) -> None:
    lengths = torch.tensor([batch.shape[-1], 4000])
    padded = batch.clone()
    padded[1, :, 4000:] = 7.0  # whatever lies behind the end
    speech = module(padded, lengths)
    alone = module(batch[1:, :, :4000])
    torch.testing.assert_close(speech[1:, :, :4000], alone, atol=2e-5, rtol=0)
    assert speech[1, :, 4000:].abs().max() == 0
    assert module(batch, [0, 1])[:, :, 1:].abs().max() == 0
    assert module(batch[:0]).shape == (0, *batch.shape[1:])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(module: EnhancerModule, batch: torch.Tensor, context) -> None:
    with context():
        inside = module(batch[:1, :1, :3000])
    assert torch.equal(inside, module(batch[:1, :1, :3000]))


def test_a_module_among_others(module: EnhancerModule, batch: torch.Tensor) -> None:
    short = batch[:1, :1, :3000]
    chain = torch.nn.Sequential(module, torch.nn.Flatten(1)).train().double()
    assert not module.training
    found = chain(short.double())
    assert found.dtype == torch.float64
    assert found.shape == (1, 3000)
    # EM stays in single precision.
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in module.parameters())
    torch.testing.assert_close(found.float(), module(short).flatten(1), atol=2e-5, rtol=0)
    assert torch.equal(copy.deepcopy(module)(short), module(short))
    assert "EnhancerModule" in repr(module)
    moved = copy.deepcopy(module).to("meta")
    assert moved.enhancer.device.type == "meta"


def test_state_dict_carries_the_weights(module: EnhancerModule, tiny_prior: Path, batch: torch.Tensor) -> None:
    short = batch[:1, :1, :3000]
    other = EnhancerModule.from_pretrained(tiny_prior, **FEW)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    assert not torch.equal(other(short), module(short))
    assert other.load_state_dict(module.state_dict()).missing_keys == []
    assert torch.equal(other(short), module(short))


@pytest.mark.parametrize(
    ("shape", "lengths", "words"),
    [
        ((100,), None, "expected"),
        ((2, 100), None, "expected"),
        ((1, 100, 2), None, "expected"),
        ((2, 1, 100), [100], "one per waveform"),
        ((1, 1, 100), [101], "one per waveform"),
    ],
)
def test_other_shapes_are_refused(module: EnhancerModule, shape, lengths, words) -> None:
    with pytest.raises(UsageError, match=words):
        module(torch.zeros(shape), lengths)


def test_integers_and_baselines_are_refused(module: EnhancerModule) -> None:
    with pytest.raises(UsageError, match="floating-point"):
        module(torch.zeros(1, 1, 100, dtype=torch.int16))
    with pytest.raises(UsageError, match="no EM loop"):
        EnhancerModule.from_pretrained(method="log-mmse")


def test_a_prior_stores_itself_and_is_loaded_again(tiny_prior: Path, tmp_path: Path) -> None:
    prior = vae_se.load_prior(tiny_prior)
    prior.save_pretrained(tmp_path / "copy")
    again = FFVAE.from_pretrained(tmp_path / "copy")
    for name, tensor in prior.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with pytest.raises(UsageError, match="class FFVAE, not GammaVAE"):
        GammaVAE.from_pretrained(tmp_path / "copy")

    class Mine(FFVAE):
        """Not registered."""

    with pytest.raises(UsageError, match="not a registered architecture"):
        Mine().save_pretrained(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_the_default_with_its_noisy_encoder_is_stored_and_loaded(tmp_path: Path) -> None:
    short = torch.tensor(speech_like(0.3)).float()[None, None]
    first = vae_se.nn.EnhancerModule.from_pretrained(**FEW)
    assert any(name.startswith("noisy_encoder.") for name in first.state_dict())
    first.save_pretrained(tmp_path / "mine")
    again = vae_se.nn.EnhancerModule.from_pretrained(tmp_path / "mine", **FEW)
    assert again.noisy_encoder is not None
    assert torch.equal(again(short), first(short))
