"""Both noisy encoders: ragged batches, causality, gradients, their folder."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.errors import PriorError, UsageError
from vae_se.noisy_encoder.store import (
    ARCHITECTURES,
    belongs,
    load_noisy_encoder,
    prior_digest,
    save_noisy_encoder,
)
from vae_se.priors import load_prior
from vae_se.priors.store import locate, names

BINS = SIGNAL.stft.bins


#: Small sizes of each architecture.
SIZES = {
    "recurrent": {"width": 10, "hidden_size": 6},
    "convolutional": {"width": 12, "channels": 3, "blocks": 3},
}


def network(kind="recurrent", causal=False, seed=0, dtype=torch.float64):
    """An untrained one, with statistics that are not neutral."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ARCHITECTURES[kind](BINS, 4, **SIZES[kind], causal=causal)
        model.set_statistics(torch.randn(BINS), 1 + torch.rand(BINS))
    return model.to(dtype).eval()


def powers(batch=3, frames=12, dtype=torch.float64):
    return model_power(tiny_prior(), batch, frames).to(dtype)


def outputs(found):
    both = [found.posterior.mean, found.posterior.log_variance, found.log_noise]
    return both if found.spread is None else [*both, found.spread.log_variance, found.log_deviation]


@pytest.fixture(params=[False, True], ids=["two-way", "causal"])
def causal(request):
    return request.param


@pytest.fixture(params=SIZES)
def kind(request):
    return request.param


@torch.no_grad()
def test_shapes_and_ranges(kind, causal):
    model = network(kind, causal)
    for scale in (0.0, 1e-8, 1.0, 1e8):
        found = model(powers() * scale, torch.ones(3, 12, dtype=torch.float64))
        assert found.posterior.mean.shape == found.posterior.log_variance.shape == (3, 12, 4)
        assert found.log_noise.shape == (3, 12, BINS)
        assert all(t.isfinite().all() for t in outputs(found))


@torch.no_grad()
def test_a_ragged_batch_is_what_its_recordings_are_one_by_one(kind, causal):
    model, power, lengths = network(kind, causal), powers(), [12, 1, 7]
    mask = (torch.arange(12) < torch.tensor(lengths)[:, None]).double()
    together = outputs(model(power * mask.unsqueeze(-1), mask))
    for row, n in enumerate(lengths):
        alone = outputs(model(power[row : row + 1, :n], torch.ones(1, n, dtype=torch.float64)))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[row, :n], b[0], rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_padding_has_no_influence_and_stays_finite(kind, causal):
    model, power = network(kind, causal), powers(2)
    mask = torch.ones(2, 12, dtype=torch.float64)
    mask[1, 5:] = 0
    other = power.clone()
    other[1, 5:] = 1e6
    for a, b in zip(outputs(model(power, mask)), outputs(model(other, mask)), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1, :5], b[1, :5])
        assert a.isfinite().all()
        assert b.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("changed", [1, 6, 11])
def test_only_the_causal_form_is_independent_of_later_frames(kind, changed):
    power = powers(1)
    later = power.clone()
    later[:, changed:] *= 7
    mask = torch.ones(1, 12, dtype=torch.float64)
    causal, other = network(kind, True), network(kind)
    for a, b in zip(outputs(causal(power, mask)), outputs(causal(later, mask)), strict=True):
        torch.testing.assert_close(a[:, :changed], b[:, :changed], rtol=1e-12, atol=1e-14)
        assert not torch.equal(a[:, changed], b[:, changed])
    two_way = outputs(other(power, mask)), outputs(other(later, mask))
    assert all((a[:, 0] != b[:, 0]).any() for a, b in zip(*two_way, strict=True))


def test_gradients_reach_every_parameter(kind, causal):
    model = network(kind, causal)
    sum(t.square().sum() for t in outputs(model(powers(), torch.ones(3, 12, dtype=torch.float64)))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"latent_dim": 2.5}, {"width": -1}, {"own": "8"}])
def test_sizes_that_make_no_sense(kind, wrong):
    own = {"recurrent": "hidden_size", "convolutional": "blocks"}[kind]
    wrong = {own if name == "own" else name: value for name, value in wrong.items()}
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ARCHITECTURES[kind](**{"bins": BINS, "latent_dim": 4} | wrong)


# ---- its folder


@pytest.fixture
def saved(tmp_path, causal):
    """A folder, its prior, and the network before it was written."""
    prior, model = tiny_prior(), network("recurrent", causal, dtype=torch.float32)
    save_noisy_encoder(model, prior, tmp_path / "noisy_encoder", training={"seed": 3})
    return tmp_path / "noisy_encoder", prior, model


@torch.no_grad()
def test_round_trip_costs_half_precision_only(kind, causal, tmp_path):
    prior, model, folder = tiny_prior(), network(kind, causal, dtype=torch.float32), tmp_path / "noisy_encoder"
    config = save_noisy_encoder(model, prior, folder, training={"seed": 3})
    assert config["architecture"] == kind
    assert config == json.loads((folder / "config.json").read_text())
    state = torch.get_rng_state()
    loaded = load_noisy_encoder(folder, prior)
    assert torch.equal(state, torch.get_rng_state())
    assert type(loaded) is type(model)
    assert loaded.config() == model.config()
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    power, mask = powers(dtype=torch.float32), torch.ones(3, 12)
    for a, b in zip(outputs(model(power, mask)), outputs(loaded(power, mask)), strict=True):
        assert (a - b).abs().max() < 5e-3 * (1 + a.abs().max())
    save_noisy_encoder(loaded, prior, tmp_path / "again")
    again = load_noisy_encoder(tmp_path / "again", prior)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in loaded.state_dict().items())


def test_an_unknown_architecture_is_refused(saved):
    edit(saved[0], architecture="nonsense")
    refuses(saved[0], saved[1], "nonsense")


def test_the_digest_is_the_weights_affair(saved):
    folder, prior, _ = saved
    assert belongs(folder, prior)
    assert prior_digest(prior) == prior_digest(tiny_prior())
    assert not belongs(folder, tiny_prior(seed=1))
    assert not belongs(folder / "nowhere", prior)
    (folder / "config.json").write_text("[]")
    assert not belongs(folder, prior)
    (folder / "config.json").write_text("{")
    assert not belongs(folder, prior)


def test_a_prior_with_a_cheaper_decoder_is_the_same_prior(tiny_prior):
    """Compression of the shipped priors by the enhancer keeps their noisy encoder valid."""
    prior = load_prior(tiny_prior)
    before = prior_digest(prior)
    assert prior.compress(0.5) is not None
    assert prior_digest(prior) == before


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refuses(folder, prior, match):
    with pytest.raises(PriorError, match=match) as caught:
        load_noisy_encoder(folder, prior)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_another_prior_is_refused(saved):
    refuses(saved[0], tiny_prior(seed=1), "another prior")


def test_missing_and_truncated_files_are_refused(saved):
    folder, prior, _ = saved
    refuses(folder.parent, prior, "cannot read")
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-50])
    refuses(folder, prior, "cannot read")
    weights.unlink()
    refuses(folder, prior, "cannot read")
    weights.write_bytes(whole)
    (folder / "config.json").write_text("{")
    refuses(folder, prior, "cannot read")


@pytest.mark.parametrize("changes", [{"kind": "prior"}, {"format": 99}])
def test_other_kinds_of_folders_are_refused(saved, changes):
    edit(saved[0], **changes)
    refuses(saved[0], saved[1], "no noisy encoder")


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"depth": 3}, "depth"),
        ({"width": 0}, "width"),
        ({"width": 11}, "do not fit"),
        ({"causal": None}, "do not fit"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(saved, model, match):
    folder, prior, network = saved
    if "causal" in model:
        model = {"causal": not network.causal}
    edit(folder, model=network.config() | model)
    refuses(folder, prior, match)


def test_a_config_without_a_model_is_refused(saved):
    edit(saved[0], model=3)
    refuses(saved[0], saved[1], "do not fit")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(saved, value):
    folder, prior, _ = saved
    tensors = safetensors.torch.load_file(folder / "weights.safetensors")
    tensors["project.weight"][2, 3] = value
    safetensors.torch.save_file(tensors, folder / "weights.safetensors")
    refuses(folder, prior, "not finite")


@pytest.mark.parametrize("name", [name for name in names() if (locate(name) / "noisy_encoder").is_dir()])
def test_shipped_networks_belong_to_their_priors(name):
    prior = load_prior(name)
    model = load_noisy_encoder(locate(name) / "noisy_encoder", prior)
    with torch.no_grad():
        found = model(torch.ones(1, 3, prior.signal.stft.bins), torch.ones(1, 3))
    assert all(t.isfinite().all() for t in outputs(found))
