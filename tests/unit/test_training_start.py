"""Dynamical priors initialised from a feed-forward prior: at first both are the same function."""

from __future__ import annotations

import pytest
import torch

from vae_se.errors import UsageError
from vae_se.priors import PRIORS, SignalSpec
from vae_se.priors.thin_layers import weights_digest
from vae_se.training.elbo import elbo_terms
from vae_se.training.start import keep_frames, start_from, take_layers

SIGNAL = SignalSpec(window=64, hop=16)
TINY = {"hidden": [8, 12], "activation": "silu", "signal": SIGNAL}
DYNAMICAL = sorted(name for name in PRIORS if not PRIORS[name].factorised)


def made(name: str, latents: int, seed: int, **more: object):
    torch.manual_seed(seed)
    return PRIORS[name](latent_dim=latents, **{**TINY, **more})


@pytest.fixture
def donor():
    model = made("ffvae", 3, seed=1)
    model.set_statistics(torch.randn(33), torch.rand(33) + 0.5)
    torch.nn.init.normal_(model.log_variance_head.weight, std=0.1)
    return model


@pytest.mark.parametrize("name", DYNAMICAL)
def test_it_starts_where_the_other_ended(name: str, donor) -> None:
    more = {"static": 2} if name == "dsae" else {}
    model = made(name, 5 if more else 3, seed=2, hidden_size=7, **more)
    take_layers(model, donor)
    power = torch.rand(2, 9, 33)
    with torch.no_grad():
        theirs, ours = donor.encode(power), model.encode(power)
        torch.testing.assert_close(ours.mean[..., -3:], theirs.mean)
        torch.testing.assert_close(ours.log_variance[..., -3:], theirs.log_variance)
        torch.testing.assert_close(model.decode(ours.mean.unsqueeze(1)), donor.decode(theirs.mean.unsqueeze(1)))


@pytest.mark.parametrize("name", DYNAMICAL)
def test_and_learns_to_remember(name: str, donor) -> None:
    """After one step the gradient reaches every parameter that it reaches in other starts."""
    model = made(name, 4, seed=2, hidden_size=7, **({"static": 1} if name == "dsae" else {}))
    take_layers(model, donor)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(3):
        optimiser.zero_grad()
        terms = elbo_terms(model, torch.rand(2, 9, 33), torch.Generator().manual_seed(0))
        (terms.reconstruction.sum() + terms.kl.sum()).backward()
        optimiser.step()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("rvae", made("ffvae", 9, 0)),
        ("rvae", made("ffvae", 3, 0, hidden=[12, 8])),
        ("rvae", made("ffvae", 3, 0, activation="tanh")),
        ("rvae", made("ffvae", 3, 0, signal=SignalSpec(window=64, hop=32))),
        ("rvae", made("ae", 3, 0)),
        ("ffvae", made("ffvae", 3, 0)),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, other) -> None:
    with pytest.raises(UsageError, match=r"train\.start") as caught:
        take_layers(made(name, 4, seed=2), other)
    assert "begins afresh" in caught.value.hint


def test_only_dynamics_leaves_encoder_and_decoder_as_they_were(donor) -> None:
    """The latents keep their meaning: the frames of the trained prior are the donor, weight by weight."""
    model = made("latent-rnn", 3, seed=2, hidden_size=7)
    start_from(model, donor)
    keep_frames(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = model.moments_before(torch.ones(1, 5, 3))[0].detach()
    for _ in range(2):
        optimiser.zero_grad()
        terms = elbo_terms(model, torch.rand(2, 9, 33), torch.Generator().manual_seed(0))
        (terms.reconstruction.sum() + terms.kl.sum()).backward()
        optimiser.step()
    state = torch.get_rng_state()
    assert weights_digest(model.frames()) == weights_digest(donor)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(model.moments_before(torch.ones(1, 5, 3))[0], before)


@pytest.mark.parametrize("name", ["ffvae", "rvae", "storn"])
def test_only_dynamics_of_a_prior_without_them_is_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=r"train\.only_dynamics"):
        keep_frames(made(name, 3, seed=2))


@pytest.mark.parametrize("name", ["ffvae", "rvae"])
def test_a_prior_starts_from_one_of_its_own_kind(name: str) -> None:
    model, other = made(name, 3, seed=2), made(name, 3, seed=3)
    start_from(model, other)
    assert weights_digest(model) == weights_digest(other)
    with pytest.raises(UsageError, match="other sizes"):
        start_from(made(name, 4, seed=2), other)
