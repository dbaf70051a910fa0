"""Speech presence: the Markov chain against enumeration, the evidence, and the attenuation of pauses."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from tests.contract.test_inference_contract import NMF, check_ragged_batch, loop, run
from tests.toys import model_power, tiny_prior
from vae_se.errors import UsageError
from vae_se.inference import averaging
from vae_se.inference.draws import Draws
from vae_se.inference.speech_presence import (
    MARGIN,
    attenuated_variance,
    pause_attenuation,
    speech_evidence,
    speech_presence,
    stay_probability,
)
from vae_se.inference.target import Target
from vae_se.signal_spec import SignalSpec

SHIPPED = SignalSpec()


@pytest.mark.parametrize("signal", [SHIPPED, SignalSpec(window=512, hop=128)])
def test_presence_is_the_sum_over_all_paths(signal):
    evidence = MARGIN + torch.tensor([[2.0, -3.0, 0.5, -1.0, 4.0], [-1.0, 1.5, 0.3, 0.0, 0.0]]).double()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).double()
    found, stay = speech_presence(evidence, mask, signal), stay_probability(signal)
    for row, length in enumerate((5, 3)):
        total, spoken = 0.0, torch.zeros(length).double()
        for path in itertools.product((0, 1), repeat=length):
            moves = sum(math.log(stay if a == b else 1 - stay) for a, b in itertools.pairwise(path))
            weight = math.exp(moves + sum(float(evidence[row, n] - MARGIN) * s for n, s in enumerate(path)))
            total += weight
            spoken += weight * torch.tensor(path).double()
        torch.testing.assert_close(found[row, :length], spoken / total)


def test_evidence_is_the_ratio_of_the_likelihoods():
    prior = tiny_prior(dtype=torch.float64)
    power, ones = model_power(prior, 1, 4), torch.ones(1, 4).double()
    noise = torch.full_like(power, 0.3)
    target = Target(prior, power, noise, ones, ones)
    z = torch.randn(1, 2, 4, prior.latent_dim, generator=torch.Generator().manual_seed(0)).double()
    eta = prior.decode(z)
    draws = Draws.weighted(z, torch.tensor([0.25, 0.75]).double().log()[None, :, None].expand(1, 2, 4), eta)
    variance = eta.exp() + noise.unsqueeze(1)
    each = (-variance.log() - power.unsqueeze(1) / variance + noise.log() + power / noise).sum(-1)
    torch.testing.assert_close(speech_evidence(target, draws), 0.25 * each[:, 0] + 0.75 * each[:, 1])
    silent = dataclasses.replace(draws, log_variance=torch.full_like(eta, -60.0))
    torch.testing.assert_close(speech_evidence(target, silent), torch.zeros(1, 4).double())


@pytest.mark.parametrize("decibels", [6.0, 12.0])
def test_attenuation_is_bounded_gradual_and_separate_for_every_row(decibels):
    presence = torch.zeros(2, 30)
    presence[:, 10:15] = 1
    mask = torch.ones(2, 30)
    mask[1, 20:] = 0
    factor = pause_attenuation(presence, mask, decibels, SHIPPED)
    quiet = 10 ** (-decibels / 20)
    torch.testing.assert_close(factor[0, 12], torch.tensor(1.0))
    torch.testing.assert_close(factor[:, 0], torch.full((2,), quiet))
    assert (factor >= quiet - 1e-6).all()
    assert factor.diff(dim=1)[:, :19].abs().max() < 0.4 * (1 - quiet)
    torch.testing.assert_close(
        factor[1, :20], pause_attenuation(presence[1:, :20], mask[1:, :20], decibels, SHIPPED)[0]
    )


def test_frames_of_noise_alone_are_attenuated_and_speech_is_not(monkeypatch):
    """The evidence is averaged over two E-steps; the last ten frames exceed the margin in only one."""
    given = torch.full((1, 40), -500.0)
    given[:, 15:25] = 500.0
    given[:, 30:] = MARGIN - 10
    steps = iter([2 * given, 0 * given])
    monkeypatch.setattr(averaging, "speech_evidence", lambda target, draws: next(steps))
    prior = tiny_prior()
    power = model_power(prior, 1, 40)
    prior.signal = dataclasses.replace(prior.signal, rate=1000)  # frames of 16 ms
    plain, down = (run(loop(prior=prior, **{"inference.pause_db": value}), power) for value in (0.0, 12.0))
    ratio = down.wiener / plain.wiener
    torch.testing.assert_close(ratio[:, 17:23], torch.ones_like(ratio[:, 17:23]))
    for frames in (slice(0, 13), slice(27, 40)):
        torch.testing.assert_close(ratio[:, frames], torch.full_like(ratio[:, frames], 10 ** (-12 / 20)))


def test_the_variance_follows_the_attenuation(monkeypatch):
    """In pauses the deviation falls as the mean does; in speech it stays; between, doubt adds to it."""
    given = torch.full((1, 40), -500.0)
    given[:, 15:25] = 500.0
    monkeypatch.setattr(averaging, "speech_evidence", lambda target, draws: given)
    prior = tiny_prior()
    power = model_power(prior, 1, 40)
    prior.signal = dataclasses.replace(prior.signal, rate=1000)  # frames of 16 ms
    plain, down = (run(loop(prior=prior, **{"inference.pause_db": value}), power) for value in (0.0, 12.0))
    ratio = down.variance / plain.variance
    torch.testing.assert_close(ratio[:, 19:21], torch.ones_like(ratio[:, 19:21]))
    for frames in (slice(0, 3), slice(37, 40)):
        torch.testing.assert_close(ratio[:, frames], torch.full_like(ratio[:, frames], 10 ** (-12 / 10)))


@pytest.mark.parametrize("decibels", [6.0, 30.0])
def test_the_variance_of_speech_that_may_be_a_pause_is_that_of_simulated_pauses(decibels):
    random, quiet, presence = np.random.default_rng(0), 10 ** (-decibels / 20), 0.7
    s = 2.0 + 1.5 * random.standard_normal(400_000)
    a = np.where(random.uniform(size=s.size) < presence, 1.0, quiet)
    factor = torch.tensor([[presence + (1 - presence) * quiet]], dtype=torch.float64)
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    found = attenuated_variance(1.5**2 * ones, 2.0**2 * ones, factor, decibels)
    assert found.item() == pytest.approx(np.var(a * s), rel=0.01)


def test_constants_are_in_seconds():
    """At half the hop, states last twice as many frames, and so does the transition."""
    assert stay_probability(SHIPPED) == 0.9
    fine = SignalSpec(window=512, hop=128)
    assert stay_probability(fine) == pytest.approx(0.95)
    presence, mask = torch.zeros(1, 60), torch.ones(1, 60)
    presence[:, 30:] = 1
    gradual = {}
    for signal in (SHIPPED, fine):
        factor = pause_attenuation(presence, mask, 12.0, signal)
        gradual[signal.hop] = int(((factor > 10 ** (-12 / 20) + 1e-5) & (factor < 1 - 1e-5)).sum())
    assert gradual == {256: 4, 128: 10}


def test_a_ragged_batch_equals_one_by_one():
    check_ragged_batch("vem", NMF, **{"inference.pause_db": 12.0})


def test_a_negative_attenuation_is_an_error():
    with pytest.raises(UsageError, match="pause_db = -1"):
        loop(**{"inference.pause_db": -1.0})
