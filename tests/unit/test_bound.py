"""The importance-weighted bound: at least the ELBO in expectation, and increasing with the draws."""

import pytest
import torch

from tests.toys import SIGNAL, small_prior
from vae_se.likelihood import LOG_PI
from vae_se.priors import PRIORS
from vae_se.training.bound import importance_bound
from vae_se.training.elbo import elbo_terms


def stream(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def power():
    return torch.rand(5, SIGNAL.stft.bins, generator=stream(1), dtype=torch.float64)


@pytest.mark.parametrize("architecture", [name for name in PRIORS if name != "ae"])  # a point has no density
def test_one_draw_is_the_elbo_and_more_are_tighter(architecture, power):
    if architecture == "flow-vae-zuko":
        pytest.importorskip("zuko")
    prior = small_prior(architecture)
    for part in ("direct", "head"):  # a posterior far from p(z | s) has weights of which one is all
        if hasattr(prior, part):
            getattr(prior, part).weight.mul_(0.1)
    bounds = {}
    for draws, times in ((1, 150), (8, 40), (200, 5)):
        found = [importance_bound(prior, power, draws, stream(seed)) for seed in range(times)]
        bounds[draws] = torch.stack(found)
    assert bounds[1].mean() < bounds[8].mean() < bounds[200].mean()
    many = power.expand(150, -1, -1)
    terms = elbo_terms(prior, many, stream(0))
    elbo = -(terms.reconstruction + terms.kl).mean() - SIGNAL.stft.bins * LOG_PI
    assert bounds[1].mean().item() == pytest.approx(elbo.item(), abs=6 * bounds[1].std().item() / 150**0.5)


def test_memory_is_bounded(monkeypatch, power):
    prior, asked = small_prior("ffvae"), []
    log_weight = prior.log_weight
    monkeypatch.setattr("vae_se.training.bound._BUDGET", 17)
    monkeypatch.setattr(
        prior, "log_weight", lambda p, draws, g: (asked.append(draws), log_weight(p, draws, g))[1]
    )
    in_parts = importance_bound(prior, power, 200, stream(0))
    assert asked == [3] * 66 + [2]
    monkeypatch.undo()
    assert in_parts.item() == pytest.approx(importance_bound(prior, power, 200, stream(1)).item(), abs=0.5)
