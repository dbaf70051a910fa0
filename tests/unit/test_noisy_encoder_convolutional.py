"""The convolutional noisy encoder: bands, ragged batches, causality, gradients, its folder."""

import json

import pytest
import torch

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.errors import PriorError, UsageError
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder, band_matrix
from vae_se.noisy_encoder.store import load_noisy_encoder, save_noisy_encoder

BINS = SIGNAL.stft.bins


def network(causal=False, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvolutionalNoisyEncoder(BINS, 4, width=12, channels=3, blocks=3, causal=causal)
        model.set_statistics(torch.randn(BINS), 1 + torch.rand(BINS))
    return model.to(dtype).eval()


def powers(batch=3, frames=12):
    return model_power(tiny_prior(), batch, frames).double()


def outputs(found):
    return found.posterior.mean, found.posterior.log_variance, found.log_noise


@pytest.fixture(params=[False, True], ids=["two-way", "causal"])
def causal(request):
    return request.param


@pytest.mark.parametrize(("bins", "narrow", "wide"), [(513, 128, 64), (33, 16, 8), (65, 32, 8)])
def test_bands_average_every_bin_once(bins, narrow, wide):
    bands = band_matrix(bins, narrow, wide)
    assert bands.shape == (narrow + wide, bins)
    torch.testing.assert_close(bands.sum(1), torch.ones(narrow + wide))
    assert ((bands > 0).sum(0) == 1).all()
    widths = (bands > 0).sum(1)
    assert (widths[:narrow] == 1).all()
    assert widths[-1] >= widths[narrow]
    with pytest.raises(UsageError, match="bands"):
        band_matrix(bins, narrow, bins)


@torch.no_grad()
def test_shapes_and_ranges(causal):
    model = network(causal)
    for scale in (0.0, 1e-8, 1.0, 1e8):
        found = model(powers() * scale, torch.ones(3, 12, dtype=torch.float64))
        assert found.posterior.mean.shape == found.posterior.log_variance.shape == (3, 12, 4)
        assert found.log_noise.shape == (3, 12, BINS)
        assert all(t.isfinite().all() for t in outputs(found))


@torch.no_grad()
def test_a_ragged_batch_is_what_its_recordings_are_one_by_one(causal):
    model, power, lengths = network(causal), powers(), [12, 1, 7]
    mask = (torch.arange(12) < torch.tensor(lengths)[:, None]).double()
    together = outputs(model(power * mask.unsqueeze(-1), mask))
    for row, n in enumerate(lengths):
        alone = outputs(model(power[row : row + 1, :n], torch.ones(1, n, dtype=torch.float64)))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[row, :n], b[0], rtol=1e-10, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("changed", [1, 6, 11])
def test_the_causal_form_never_looks_ahead_and_the_other_does(changed):
    power = powers(1)
    later = power.clone()
    later[:, changed:] *= 7
    mask = torch.ones(1, 12, dtype=torch.float64)
    for a, b in zip(outputs(network(True)(power, mask)), outputs(network(True)(later, mask)), strict=True):
        torch.testing.assert_close(a[:, :changed], b[:, :changed], rtol=1e-12, atol=1e-14)
        assert not torch.equal(a[:, changed], b[:, changed])
    two_way = outputs(network()(power, mask)), outputs(network()(later, mask))
    assert all((a[:, 0] != b[:, 0]).any() for a, b in zip(*two_way, strict=True))


def test_gradients_reach_every_parameter(causal):
    found = network(causal)
    result = found(powers(), torch.ones(3, 12, dtype=torch.float64))
    mean, log_variance, log_noise = outputs(result)
    total = mean.square().sum() + log_variance.square().sum() + log_noise.square().sum()
    (total + result.spread.log_variance.square().sum()).backward()
    for name, parameter in found.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_the_folder_gives_the_network_back(tmp_path, causal):
    prior, model = tiny_prior(), network(causal, dtype=torch.float32)
    config = save_noisy_encoder(model, prior, tmp_path)
    assert config["architecture"] == "convolutional"
    again = load_noisy_encoder(tmp_path, prior)
    assert isinstance(again, ConvolutionalNoisyEncoder)
    assert again.config() == model.config()
    power, mask = powers(1).float(), torch.ones(1, 12)
    for a, b in zip(outputs(model(power, mask)), outputs(again(power, mask)), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)  # float16 weights
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "nonsense"}))
    with pytest.raises(PriorError, match="nonsense"):
        load_noisy_encoder(tmp_path, prior)


def test_bad_sizes_are_named():
    with pytest.raises(UsageError, match="blocks"):
        ConvolutionalNoisyEncoder(BINS, 4, blocks=0)
