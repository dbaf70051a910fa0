"""Kernels that weight or accept draws from a noisy encoder are exact, however wrong the encoder is."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from tests.toys import LinearGaussianTarget, linear_target
from vae_se.inference.estep import ESTEPS, proposal
from vae_se.priors import GaussianPosterior
from vae_se.rng import Streams

STEPS, BURN_IN = 120, 40
BIAS, SPREAD = 0.2, 0.06


@dataclasses.dataclass(frozen=True)
class Proposed(LinearGaussianTarget):
    """The toy with the posterior of a noisy encoder."""

    said: Any = None

    def initial_posterior(self, power):
        return self.said


def target(kind):
    """The toy with a noisy encoder that is too wide, biased, or of an error that varies over frames."""
    toy = linear_target()
    mean, covariance = toy.posterior()
    std = covariance.diagonal().sqrt()
    generator = torch.Generator().manual_seed(2)
    frame = torch.rand(1, mean.shape[1], 1, generator=generator, dtype=torch.float64)
    shift, width = {
        "right": (torch.zeros_like(frame), torch.full_like(frame, 1.2)),
        "biased": (torch.full_like(frame, 0.7), torch.full_like(frame, 1.6)),
        "uneven": (2 * frame - 1, 1.3 + frame),
    }[kind]
    said = GaussianPosterior(mean + shift * std, 2 * torch.log(width * std))
    fields = {f.name: getattr(toy, f.name) for f in dataclasses.fields(toy)}
    return Proposed(**fields, said=said)


def deviations(name, kind):
    """Largest error of the mean in posterior standard deviations, and relative error of the pooled variance."""
    toy = target(kind)
    kernel = ESTEPS[name](**{"encoder-is": {"draws": 200}, "encoder-mh": {"draws": 32, "sweeps": 4}}[name])
    streams = Streams([torch.Generator().manual_seed(5)], [toy.power.shape[1]])
    state = kernel.init(toy, toy.power, streams)
    mean, covariance = toy.posterior()
    first = second = 0.0
    for step in range(STEPS):
        state, _ = kernel.step(toy, state, streams)
        if step >= BURN_IN:
            weight = state.draws.log_weight.exp().unsqueeze(-1)
            centred = state.draws.z - mean.unsqueeze(1)
            first = first + (weight * centred).sum(1) / (STEPS - BURN_IN)
            second = second + (weight * centred.square()).sum(1) / (STEPS - BURN_IN)
    variance = covariance.diagonal()
    bias = (first / variance.sqrt()).abs().max().item()
    return bias, (second.mean((0, 1)) / variance - 1).abs().max().item()


@pytest.mark.parametrize("kind", ["right", "biased", "uneven"])
@pytest.mark.parametrize("name", ["encoder-is", "encoder-mh"])
def test_draws_have_the_known_moments_with_any_noisy_encoder(name, kind):
    bias, spread = deviations(name, kind)
    assert bias < BIAS
    assert spread < SPREAD


@pytest.mark.parametrize("name", ["encoder-is", "encoder-mh"])
def test_mutation_without_the_proposal_s_density(name, monkeypatch):
    monkeypatch.setattr(
        proposal.Proposal, "log_prob", lambda self, z: torch.full_like(z[..., 0], math.log(2.0))
    )
    bias, spread = deviations(name, "biased")
    assert bias > BIAS or spread > SPREAD
