"""Multistart: the candidates, and the choice of the initialisation with the highest bound."""

import dataclasses

import pytest
import torch

from tests.contract.test_inference_contract import loop, run, streams_for
from tests.toys import model_power, tiny_prior
from vae_se.errors import UsageError
from vae_se.inference import multistart
from vae_se.inference.initialisation import Start
from vae_se.inference.multistart import best_start, candidates
from vae_se.noise.multiplicative import NMFState
from vae_se.noise.nmf import NMF
from vae_se.priors import GaussianPosterior


def start(value: float) -> Start:
    def full(*shape):
        return torch.full((3, *shape), value)

    return Start(NMFState(full(2, 5), full(4, 2)), full(4), GaussianPosterior(full(4, 6), full(4, 6)))


def test_each_recording_takes_the_initialisation_with_its_highest_bound(monkeypatch):
    worths = iter(([1.0, 5.0, 2.0], [2.0, 4.0, 9.0], [0.0, 6.0, 3.0]))
    made = iter((start(0.0), start(1.0), start(2.0)))
    monkeypatch.setattr(multistart, "_trial", lambda *_: (next(made), torch.tensor(next(worths))))
    best = best_start([None] * 3, torch.zeros(3, 4, 5), torch.ones(3, 4), streams_for([4, 4, 4]))
    expected = torch.tensor([1.0, 2.0, 1.0])
    for tensor in (best.noise.w, best.noise.h, best.gain, best.posterior.mean, best.posterior.log_variance):
        assert torch.equal(tensor.flatten(1)[:, 0], expected)
        assert torch.equal(tensor.flatten(1).amin(1), tensor.flatten(1).amax(1))


def test_the_first_candidate_is_the_model_itself():
    em = loop()
    one, two, three, four = candidates(em, 4)
    assert one is em
    assert two.noise.init_spectrum == "tracked"
    assert three is four is em
    with_network = dataclasses.replace(em, noisy_encoder=object())
    one, two, three = candidates(with_network, 3)
    assert one.noisy_encoder is with_network.noisy_encoder
    assert two.noisy_encoder is None
    assert two.noise == em.noise
    assert three.noise.init_spectrum == "tracked"
    assert three.noisy_encoder is None


def test_a_bad_initialisation_is_rejected():
    """A noise that starts 60 dB too loud has a lower bound than the usual start."""
    prior = tiny_prior()
    power = model_power(prior, 2, 20, noise=0.5)
    mask, usual = torch.ones(2, 20), loop(prior=prior)
    loud = dataclasses.replace(usual, noise=NMF(rank=3, init_scale=1e6))
    for loops in ([loud, usual], [usual, loud]):
        found = best_start(loops, power, mask, streams_for([20, 20]))
        assert usual.noise.variance(found.noise).median() < 10


def test_a_single_start_runs_no_trial(monkeypatch):
    monkeypatch.setattr("vae_se.inference.monte_carlo_em.best_start", lambda *_: pytest.fail("a trial"))
    run(loop(), model_power(tiny_prior(), 1, 5))


def test_zero_starts_is_an_error():
    with pytest.raises(UsageError, match="starts = 0"):
        loop(**{"inference.starts": 0})
