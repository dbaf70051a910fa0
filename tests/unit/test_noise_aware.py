"""A noise-aware noisy encoder: what it is given, how EM asks it again, what its training sees."""

import dataclasses

import pytest
import torch

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import UsageError
from vae_se.inference import em as em_module
from vae_se.inference.asking import ask_again, found_variances
from vae_se.likelihood import LogVariances
from vae_se.noisy_encoder import NoisyEncoder, NoisyEncoding
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.store import load_noisy_encoder, save_noisy_encoder
from vae_se.priors import GaussianPosterior
from vae_se.rng import Streams
from vae_se.training import em_variances
from vae_se.training.em_variances import EMVariances
from vae_se.training.mixtures import MixtureBatch
from vae_se.training.noisy_encoder_start import take_weights

BINS, LATENT = SIGNAL.stft.bins, 4


def network(noise_aware=True, causal=False, trained=True):
    """Small, float64; with ``trained``, what is given has an influence."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvolutionalNoisyEncoder(
            BINS, LATENT, width=12, channels=3, blocks=2, causal=causal, noise_aware=noise_aware
        )
        model.set_statistics(torch.randn(BINS), 1 + torch.rand(BINS))
        if noise_aware and trained:
            torch.manual_seed(1)
            for layer in (model.down_given, model.up_given):
                for parameter in layer.parameters():
                    torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval().requires_grad_(False)


def powers(batch=2, frames=9):
    return model_power(tiny_prior(), batch, frames).double()


def given_for(power, seed=2):
    random = torch.Generator().manual_seed(seed)
    shape = power.shape
    speech, noise = (torch.log(power) + torch.randn(shape, generator=random).double() - 1 for _ in range(2))
    return LogVariances(speech, noise)


def outputs(found):
    return [found.posterior.mean, found.posterior.log_variance, found.log_noise, found.log_deviation]


# ---- the network


def test_at_first_what_is_given_has_no_influence():
    power, mask = powers(), torch.ones(2, 9).double()
    model = network(trained=False)
    for a, b in zip(
        outputs(model(power, mask)), outputs(model(power, mask, given=given_for(power))), strict=True
    ):
        assert torch.equal(a, b)


def test_a_trained_one_sees_speech_and_noise_in_every_output():
    power, mask, model = powers(), torch.ones(2, 9).double(), network()
    given = given_for(power)
    told = outputs(model(power, mask, given=given))
    for other in (
        LogVariances(given.speech + 1, given.noise),
        LogVariances(given.speech, given.noise + 1),
    ):
        for a, b in zip(told, outputs(model(power, mask, given=other)), strict=True):
            assert not torch.equal(a, b)
    # Without a gift it is the network without such layers.
    plain = network(noise_aware=False)
    plain.load_state_dict(model.state_dict(), strict=False)
    for a, b in zip(outputs(model(power, mask)), outputs(plain(power, mask)), strict=True):
        assert torch.equal(a, b)


def test_the_noise_moves_to_the_given_one_by_the_trust():
    power, mask, model = powers(), torch.ones(2, 9).double(), network(trained=False)
    model.up_given.bias[0] = 0.5
    given = given_for(power)
    own = model(power, mask).log_noise
    expected = own + torch.tanh(torch.tensor(0.5).double()) * (given.noise - own)
    torch.testing.assert_close(model(power, mask, given=given).log_noise, expected)


@pytest.mark.parametrize("causal", [False, True])
def test_a_ragged_batch_is_what_its_recordings_are_one_by_one(causal):
    model, power, lengths = network(causal=causal), powers(3), [9, 1, 6]
    given = given_for(power)
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).double()
    together = outputs(model(power * mask.unsqueeze(-1), mask, given=given))
    for row, n in enumerate(lengths):
        own = LogVariances(given.speech[row : row + 1, :n], given.noise[row : row + 1, :n])
        alone = outputs(model(power[row : row + 1, :n], torch.ones(1, n).double(), given=own))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[row, :n], b[0], rtol=1e-10, atol=1e-12)


def test_a_causal_one_does_not_see_what_is_given_for_later_frames():
    model, power, mask = network(causal=True), powers(1), torch.ones(1, 9).double()
    given = given_for(power)
    later = LogVariances(given.speech.clone(), given.noise.clone())
    later.speech[:, 5:] += 2
    later.noise[:, 5:] -= 1
    told, other = (outputs(model(power, mask, given=g)) for g in (given, later))
    for a, b in zip(told, other, strict=True):
        torch.testing.assert_close(a[:, :5], b[:, :5], rtol=1e-12, atol=1e-14)


def test_a_recurrent_network_is_not_noise_aware():
    power = powers().float()
    model = NoisyEncoder(BINS, LATENT, width=8, hidden_size=5).eval()
    assert not model.noise_aware
    with torch.no_grad():
        a, b = model(power, torch.ones(2, 9)), model(power, torch.ones(2, 9), given=given_for(power))
    assert torch.equal(a.log_noise, b.log_noise)


def test_its_folder_says_so_and_it_starts_from_a_network_that_is_not(tmp_path):
    prior, plain = tiny_prior(), network(noise_aware=False).float()
    save_noisy_encoder(plain, prior, tmp_path / "plain", training={})
    model = network(trained=False).float()
    take_weights(model, tmp_path / "plain")
    save_noisy_encoder(model, prior, tmp_path / "aware", training={})
    loaded = load_noisy_encoder(tmp_path / "aware", prior)
    assert loaded.noise_aware
    power, mask = powers().float(), torch.ones(2, 9)
    kept = load_noisy_encoder(tmp_path / "plain", prior)
    assert not kept.noise_aware
    assert torch.equal(loaded(power, mask).log_noise, kept(power, mask).log_noise)


# ---- EM


class Told:
    """A noise-aware encoder that keeps what it is given; its answer is quieter noise every time."""

    noise_aware = True

    def __init__(self):
        self.given = []

    def __call__(self, power, mask, *, given=None):
        self.given.append(given)
        mean = torch.zeros(*power.shape[:2], LATENT, dtype=power.dtype)
        noise = torch.full_like(power, -1.0 - len(self.given))
        return NoisyEncoding(GaussianPosterior(mean, mean - 4), noise)


def loop(noisy_encoder, **overrides):
    settings = {"noise.rank": 3, "inference.noisy_encoder": "none", "inference.iterations": 6} | overrides
    em = build_em(Config().override(settings), tiny_prior().double())
    return dataclasses.replace(em, noisy_encoder=noisy_encoder)


def streams_for(lengths):
    return Streams.from_seed(0, [f"utterance {i}" for i in range(len(lengths))], lengths)


def test_found_variances_are_those_of_a_slow_loop():
    em, power, mask = loop(None, **{"estep.draws": 3}), powers(), torch.ones(2, 9).double()
    state = em.start(power, mask, streams_for([9, 9]))
    state, _ = em_module.step(em, power, mask, state, streams_for([9, 9]))
    found = found_variances(em, power, mask, state)
    w, h = em.noise.factors(state.noise)
    draws = state.estep.draws
    for b in range(2):
        for n in range(9):
            for f in range(0, BINS, 5):
                noise = sum(float(w[b, k, f] * h[b, n, k]) for k in range(3))
                mean = sum(
                    float(
                        draws.log_weight[b, r, n].exp()
                        * state.gain[b, n]
                        * draws.log_variance[b, r, n, f].exp()
                    )
                    for r in range(3)
                )
                assert found.noise[b, n, f].exp().item() == pytest.approx(noise, rel=1e-6)
                assert found.speech[b, n, f].exp().item() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(("asks", "after"), [(1, []), (2, [3]), (3, [2, 4]), (9, [1, 2, 3, 4, 5])])
def test_it_is_asked_at_equal_distances(asks, after, monkeypatch):
    told, power, mask = Told(), powers(), torch.ones(2, 9).double()
    em = loop(told, **{"inference.asks": asks})
    seen = []
    original = em_module.step

    def watched(model, power, mask, state, streams):
        seen.append(len(told.given))
        return original(model, power, mask, state, streams)

    monkeypatch.setattr("vae_se.inference.monte_carlo_em.step", watched)
    estimate = em.run(power, mask, streams_for([9, 9]))
    assert [k for k in range(1, 6) if seen[k] > seen[k - 1]] == after
    assert told.given[0] is None
    assert all(given is not None for given in told.given[1:])
    assert estimate.state.iteration == 6  # the reports of all parts are there


def test_asking_again_starts_from_the_new_answer():
    told, power, mask = Told(), powers(), torch.ones(2, 9).double()
    em = loop(told)
    state = em.start(power, mask, streams_for([9, 9]))
    again = ask_again(em, power, mask, state, streams_for([9, 9]))
    assert again.proposal.noise_power.mean() < state.proposal.noise_power.mean()
    torch.testing.assert_close(told.given[1].noise, em.noise.variance(state.noise).log())
    assert (
        ask_again(dataclasses.replace(em, noisy_encoder=None), power, mask, state, streams_for([9, 9])) is state
    )


def test_a_batch_is_what_its_recordings_are_one_by_one():
    em, power, lengths = loop(network(), **{"inference.asks": 2}), powers(2), [9, 5]
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).double()
    streams = streams_for(lengths)
    together = em.run(power * mask.unsqueeze(-1), mask, streams)
    own = Streams.from_seed(0, ["utterance 1"], [5])
    alone = em.run(power[1:, :5], torch.ones(1, 5).double(), own)
    torch.testing.assert_close(together.wiener[1, :5], alone.wiener[0], rtol=1e-8, atol=1e-10)


def test_a_number_of_asks_below_one():
    with pytest.raises(UsageError, match="asks"):
        dataclasses.replace(loop(None), asks=0)


# ---- training


def spectra(power, seed):
    random = torch.Generator().manual_seed(seed)
    phase = torch.rand(power.shape, generator=random) * 6.28
    return torch.polar(power.float().sqrt(), phase)


def test_the_variances_of_training_are_those_of_em_and_depend_on_the_arguments_alone(monkeypatch):
    monkeypatch.setattr(em_variances, "NEAR_TRUTH", 0.0)
    prior = tiny_prior()
    batch = MixtureBatch(spectra(powers(), 0), spectra(powers() * 0.1, 1))
    power, mask = (batch.speech + batch.noise).abs().square(), torch.ones(2, 9)
    encoding = network().float()(power, mask)
    first, other = (EMVariances(prior).draw(encoding, batch, 0, "train", 5) for _ in range(2))
    assert torch.equal(first.speech, other.speech)
    assert torch.equal(first.noise, other.noise)
    changed = EMVariances(prior).draw(encoding, batch, 0, "train", 6)
    assert not torch.equal(first.noise, changed.noise)
    assert first.noise.isfinite().all()
    assert first.speech.isfinite().all()


def test_some_mixtures_are_nearer_to_the_truth(monkeypatch):
    prior = tiny_prior()
    batch = MixtureBatch(spectra(powers(), 0), spectra(powers() * 0.1, 1))
    noise = batch.noise.abs().square()
    power, mask = (batch.speech + batch.noise).abs().square(), torch.ones(2, 9)
    encoding = network().float()(power, mask)

    def distance(near):
        monkeypatch.setattr(em_variances, "NEAR_TRUTH", near)
        found = [EMVariances(prior).draw(encoding, batch, 0, "train", k).noise for k in range(6)]
        return torch.stack([(noise.clamp(min=1e-6).log() - f).square().mean() for f in found]).mean()

    assert distance(1.0) < distance(0.0)
