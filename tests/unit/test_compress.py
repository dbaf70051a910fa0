"""The cheaper form of the decoder: as near as asked, and nothing else of the prior changes."""

import copy
import shutil

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.config import Config
from vae_se.device import factor_type, multiplies_bfloat16
from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import UsageError
from vae_se.noisy_encoder.store import load_noisy_encoder
from vae_se.priors import load_prior
from vae_se.priors.store import locate, store_thin_layers


@pytest.fixture(scope="module")
def prior():
    return load_prior("default")


@pytest.mark.parametrize("error", [0.02, 0.03, 0.2])
def test_error_is_what_was_asked_for(prior, error):
    compressed = copy.deepcopy(prior)
    rank = compressed.compress(error)
    z = torch.randn(3000, prior.latent_dim, generator=torch.Generator().manual_seed(8))
    found = (compressed.decode(z) - prior.decode(z)).square().mean().sqrt()
    assert 0.7 * error < found < 1.1 * error
    # The mean of the decoder's output does not change: there is no bias in any bin.
    assert (compressed.decode(z) - prior.decode(z)).mean(0).abs().max() < error
    assert compressed.thin_in.shape == (rank, prior.hidden[-1])


def test_the_stored_form_is_the_computed_one(prior):
    stored, computed = copy.deepcopy(prior), copy.deepcopy(prior)
    assert stored.stored_layers is not None, "python eval/scripts/thin_layers.py"
    computed.stored_layers = None
    error = Config().inference.decoder_error
    assert stored.compress(error) == computed.compress(error)
    z = torch.randn(500, prior.latent_dim, generator=torch.Generator().manual_seed(8))
    torch.testing.assert_close(stored.decode(z), computed.decode(z), atol=1e-4, rtol=0)
    assert torch.equal(stored.thin_in, prior.stored_layers.inward)


def test_the_stored_form_of_other_weights_is_not_used(prior):
    changed = copy.deepcopy(prior)
    with torch.no_grad():
        changed.output.bias += 1
    changed.compress(Config().inference.decoder_error)
    z = torch.randn(500, prior.latent_dim, generator=torch.Generator().manual_seed(8))
    assert (changed.decode(z) - prior.decode(z) - 1).square().mean().sqrt() < 0.05


def test_a_damaged_file_of_the_form_is_computed_again(prior, tmp_path):
    folder = shutil.copytree(locate("default"), tmp_path / "prior")
    (folder / "thin_layers.safetensors").write_bytes(b"damaged")
    again = load_prior(folder)
    assert again.stored_layers is None
    assert store_thin_layers(folder, 0.2) == again.compress(0.2)
    assert load_prior(folder).stored_layers.error == 0.2


def test_nothing_happens_where_it_does_not_pay(prior):
    same = copy.deepcopy(prior)
    assert same.compress(1e-4) is None
    z = torch.randn(5, prior.latent_dim)
    assert torch.equal(same.decode(z), prior.decode(z))


def test_what_is_saved_and_the_encoder_stay(prior):
    compressed = copy.deepcopy(prior)
    compressed.compress(0.03)
    before, after = prior.state_dict(), compressed.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    power = torch.rand(1, 3, prior.signal.stft.bins)
    assert torch.equal(prior.encode(power).mean, compressed.encode(power).mean)


def test_the_result_is_nearly_the_same():
    noisy = noisy_like(2.0)
    cheap, full = (
        Enhancer.from_pretrained(device="cpu", inference__iterations=10, inference__decoder_error=error)
        for error in (0.03, 0.0)
    )
    assert full.prior.thin_in is None
    assert cheap.prior.thin_in is not None
    one, other = (enhancer.enhance(noisy, 16000) for enhancer in (cheap, full))
    assert np.sum((one - other) ** 2) < 1e-2 * np.sum(other**2)


def test_factors_in_bfloat16_change_little(prior):
    """Decoder and gradient agree with single precision to the three digits that bfloat16 has."""
    rounded = copy.deepcopy(prior)
    assert rounded.multiply_in(torch.bfloat16)
    z = torch.randn(500, prior.latent_dim, generator=torch.Generator().manual_seed(8)).requires_grad_()
    results = []
    for one in (prior, rounded):
        eta = one.decode(z)
        (slope,) = torch.autograd.grad(eta.sigmoid().sum(), z)
        assert eta.dtype == slope.dtype == torch.float32
        results.append((eta.detach(), slope))
    (eta, slope), (near, nearby) = results
    assert 0 < (near - eta).square().mean().sqrt() < 0.05  # nats
    assert (nearby - slope).norm() < 0.02 * slope.norm()
    assert torch.equal(rounded.state_dict()["output.weight"], prior.state_dict()["output.weight"])


def test_enhancement_with_factors_in_bfloat16():
    noisy = noisy_like(1.0)
    single, rounded = (
        Enhancer.from_pretrained(inference__iterations=5, inference__precision=name).enhance(noisy, 16000)
        for name in (None, "bfloat16")
    )
    error = np.sum((single - rounded) ** 2) / np.sum(single**2)
    assert 0 < error < 1e-3  # -30 dB


def test_the_noisy_encoder_multiplies_in_bfloat16_too(prior):
    """In what it says of the noise, the latents and the deviation, to the three digits of bfloat16."""
    network = load_noisy_encoder(locate("default") / "noisy_encoder", prior)
    power = torch.empty(1, 60, 513).exponential_(generator=torch.Generator().manual_seed(8))
    found = []
    for factors in (None, torch.bfloat16, None):
        network.multiply_in(factors)
        encoding = network(power, torch.ones(1, 60))
        found.append([encoding.posterior.mean, encoding.log_noise, encoding.log_deviation, encoding.noise_std])
    for single, rounded, again in zip(*found, strict=True):
        assert single.dtype == rounded.dtype == torch.float32
        assert 0 < (rounded - single).square().mean().sqrt() < 0.02 * (1 + single.std())
        assert torch.equal(single, again)


def test_in_bfloat16_a_recording_does_not_depend_on_its_batch():
    """To the last bit: rounding would magnify what the rows of a batch have to do with each other."""
    enhancer = Enhancer.from_pretrained(preset="fast", inference__precision="bfloat16", device="cpu")
    recordings = [
        noisy_like(seconds, seed=seed).astype(np.float32) for seed, seconds in enumerate((0.7, 1.1, 1.1))
    ]
    together = enhancer.enhance_batch(recordings, 16000)
    for recording, speech in zip(recordings, together, strict=True):
        np.testing.assert_array_equal(speech, enhancer.enhance(recording, 16000))


def test_bfloat16_is_chosen_where_the_processor_has_it(tmp_path):
    cpu = torch.device("cpu")
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("flags\t: fpu avx2 avx512f\n")
    new.write_text("flags\t: fpu avx2 avx512_bf16 amx_tile\n")
    assert multiplies_bfloat16(new)
    assert not multiplies_bfloat16(old)
    assert not multiplies_bfloat16(tmp_path / "none")
    assert factor_type("bfloat16", cpu) is torch.bfloat16
    assert factor_type(None, cpu) is None
    with pytest.raises(UsageError, match="float8"):
        factor_type("float8", cpu)
