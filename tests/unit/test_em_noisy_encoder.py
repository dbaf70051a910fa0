"""EM with a noisy encoder: its start, refreshed proposals, ragged batches, resuming, configuration."""

import dataclasses
import itertools
import shutil

import pytest
import torch

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import PriorError
from vae_se.inference.em import init, step
from vae_se.inference.estep import ESTEPS
from vae_se.inference.initialisation import Start
from vae_se.inference.target import Target
from vae_se.likelihood import itakura_saito
from vae_se.noise import NOISES
from vae_se.noise.store import NoiseDictionary, save_dictionary
from vae_se.noisy_encoder import NoisyEncoder, NoisyEncoding
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.store import save_noisy_encoder
from vae_se.numerics import FIT_UPDATES, POWER_FLOOR
from vae_se.priors import GaussianPosterior, load_prior, save_prior
from vae_se.rng import Streams

BINS, LATENT = SIGNAL.stft.bins, 4
#: Kernels that draw from the initial posterior, or start at its mean.
DIRECT = {"mh", "encoder-is", "encoder-mh", "langevin", "mala", "vem", "map"}
#: Kernels that fit a Gaussian around the mean of the initial posterior.
FROM_MEAN = {"vem-full", "vem-is", "vem-mh"}


class Says:
    """A noisy encoder with a constant output: latents near ``mean``, white noise."""

    def __init__(self, mean):
        self.mean = mean

    def __call__(self, power, mask):
        shape = (*power.shape[:2], LATENT)
        mean = torch.full(shape, self.mean, dtype=power.dtype)
        posterior = GaussianPosterior(mean, torch.full(shape, -14.0, dtype=power.dtype))
        return NoisyEncoding(posterior, torch.full_like(power, -1.0))


def network(dtype=torch.float64, kind=NoisyEncoder, **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = kind(BINS, LATENT, width=8, **(sizes or {"hidden_size": 5}))
        return net.to(dtype).eval().requires_grad_(False)


def loop(estep="vem", noisy_encoder=None, prior=None, **overrides):
    config = Config().override(
        {
            "estep.name": estep,
            "noise.rank": 3,
            "inference.noisy_encoder": "none",
            "inference.iterations": 4,
            "inference.averaging": 2,
            **overrides,
        }
    )
    em = build_em(config, prior or tiny_prior())
    return dataclasses.replace(em, noisy_encoder=noisy_encoder)


def streams_for(lengths):
    return Streams.from_seed(0, [f"utterance {i}" for i in range(len(lengths))], lengths)


@pytest.fixture(params=list(NOISES))
def noise_settings(request, tmp_path):
    settings = {"noise.name": request.param}
    if request.param != "nmf":
        settings["noise.rank"] = None
    if request.param == "dictionary":
        path = tmp_path / "noise.safetensors"
        atoms = torch.rand(2, BINS, generator=torch.Generator().manual_seed(1)) + 0.1
        save_dictionary(NoiseDictionary(atoms, SIGNAL.rate, SIGNAL.window, SIGNAL.hop), path)
        settings |= {"noise.file": str(path), "noise.free": 1}
    return settings


def test_every_kernel_is_accounted_for():
    # vem-encoder starts from the weights of the prior's own encoder, not from a posterior.
    assert {*DIRECT, *FROM_MEAN, "vem-encoder"} == set(ESTEPS)


def start_at(em, power, mask, mean):
    """EM from a posterior close to the constant ``mean``."""
    streams = streams_for(mask.sum(-1).long().tolist())
    posterior = Says(mean)(power, mask).posterior
    start = Start(em.noise.init(power, mask, streams), torch.ones_like(mask), posterior)
    return init(em, power, mask, streams, start)


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_latents_start_at_the_initial_posterior(name):
    power, mask = model_power(tiny_prior(), 2, 6), torch.ones(2, 6)
    for mean in (-1.0, 0.75):
        z = start_at(loop(name), power, mask, mean).estep.draws.z
        torch.testing.assert_close(z, torch.full_like(z, mean), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", sorted(FROM_MEAN))
def test_newton_kernels_start_from_the_mean_of_the_initial_posterior(name, monkeypatch):
    from vae_se.inference.estep import vem_full

    given = []
    real = vem_full.gauss_newton
    monkeypatch.setattr(vem_full, "gauss_newton", lambda target, mean: given.append(mean) or real(target, mean))
    power, mask = model_power(tiny_prior(), 1, 6), torch.ones(1, 6)
    start_at(loop(name), power, mask, 0.5)
    assert torch.equal(given[0], torch.full((1, 6, LATENT), 0.5))


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_a_context_only_whitens_where_the_latents_start(name):
    """Without randomness in the start, z = mean + scale u is the start without a context."""
    power, mask = model_power(tiny_prior(), 1, 6), torch.ones(1, 6)
    sure = network(torch.float32, ConvolutionalNoisyEncoder, channels=2, blocks=2)
    em = loop(name, sure, **{"inference.context_weight": 0.5})
    plain = dataclasses.replace(em, context_weight=0.0).start(power, mask, streams_for([6]))
    state = em.start(power, mask, streams_for([6]))
    z = state.context.mean.unsqueeze(1) + state.context.scale.unsqueeze(1) * state.estep.draws.z
    torch.testing.assert_close(z, plain.estep.draws.z, atol=1e-5, rtol=1e-4)


def test_the_noise_starts_at_the_noise_power_of_the_proposal():
    power, mask = torch.full((1, 8, BINS), 0.4), torch.ones(1, 8)
    em = loop(noisy_encoder=Says(0.0))
    state = em.start(power, mask, streams_for([8]))
    error = em.noise.variance(state.noise).log() - state.proposal.noise_power.log()
    # The proposal has rank 1 here, so the fit finds it, up to a remainder of the random initialisation.
    assert error.square().mean().sqrt() < 0.1
    assert error.abs().max() < 0.4


def test_the_initial_posterior_is_that_of_the_noisy_encoder_if_there_is_one():
    prior, power = tiny_prior(), model_power(tiny_prior(), 1, 3)
    mask = torch.ones(1, 3)
    plain = Target(prior, power, power, mask, mask)
    assert torch.equal(plain.initial_posterior(power).mean, prior.encode(power).mean)
    said = Says(0.3)(power, mask).posterior
    proposed = dataclasses.replace(plain, noisy_posterior=said)
    assert proposed.initial_posterior(power) is said
    assert torch.equal(proposed.encode(power).mean, prior.encode(power).mean)


@pytest.mark.parametrize("refresh", [True, False])
@pytest.mark.parametrize("name", ["encoder-is", "encoder-mh"])
def test_refresh_takes_the_prior_s_encoder_at_the_posterior_power_of_the_speech(name, refresh):
    """Without ``refresh`` the posterior of the noisy encoder stays in the proposal."""
    power, mask, streams = model_power(tiny_prior(), 1, 6), torch.ones(1, 6), streams_for([6])
    em = loop(name, Says(0.75), **{"estep.refresh": refresh})
    first = em.start(power, mask, streams)
    target, draws = em.target(power, mask, first), first.estep.draws
    after, _ = step(em, power, mask, first, streams)
    found = after.estep.proposal.encoder
    said = first.noisy_posterior
    expected = target.encode(target.speech_power(draws.log_variance, draws.log_weight)) if refresh else said
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.log_variance, expected.log_variance)
    assert not torch.equal(target.encode(power).mean, said.mean)


@pytest.mark.parametrize("name", list(ESTEPS))
def test_a_ragged_batch_equals_one_by_one(name):
    prior, lengths = tiny_prior(dtype=torch.float64), [9, 4, 1]
    power = model_power(prior, 3, 9)
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).double()
    power = power * mask.unsqueeze(-1)
    em = loop(name, network(), prior)
    together = em.run(power, mask, streams_for(lengths))
    for row, n in enumerate(lengths):
        mine = Streams.from_seed(0, [f"utterance {row}"], [n])
        alone = em.run(power[row : row + 1, :n], mask[row : row + 1, :n], mine)
        torch.testing.assert_close(together.wiener[row, :n], alone.wiener[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(together.noise[row, :n], alone.noise[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", list(ESTEPS))
def test_resuming_equals_an_unbroken_run(name):
    power, mask = model_power(tiny_prior(), 2, 7), torch.ones(2, 7)
    em = loop(name, network(torch.float32))
    whole = em.run(power, mask, streams_for([7, 7]))
    streams = streams_for([7, 7])
    state = em.start(power, mask, streams)
    for _ in range(2):
        state, _ = step(em, power, mask, state, streams)
    assert state.noisy_posterior is not None
    fresh = streams_for([7, 7])
    fresh.restore(streams.state())
    # The state holds the noisy encoder's posterior, so resuming does not need the noisy encoder.
    resumed = dataclasses.replace(em, noisy_encoder=None).run(power, mask, fresh, state=state)
    assert torch.equal(resumed.wiener, whole.wiener)


def test_every_noise_model_runs_with_it_and_stays_finite(noise_settings):
    for power in (model_power(tiny_prior(), 1, 6), torch.zeros(1, 4, BINS), model_power(tiny_prior(), 1, 1)):
        mask = torch.ones(power.shape[:2])
        em = loop(noisy_encoder=network(torch.float32), **noise_settings)
        found = em.run(power, mask, streams_for([power.shape[1]]))
        assert torch.isfinite(found.wiener).all()
        assert torch.isfinite(found.noise).all()


# ---- the fit of the noise to a given variance


def proposal(frames=30):
    """A noise variance of rank 2 for two recordings; the second is shorter."""
    generator = torch.Generator().manual_seed(6)
    w = torch.rand(2, BINS, generator=generator, dtype=torch.float64) ** 2 + 1e-3
    h = torch.rand(2, frames, 2, generator=generator, dtype=torch.float64) ** 4 + 1e-3
    mask = torch.ones(2, frames, dtype=torch.float64)
    mask[1, -5:] = 0
    return h @ w * mask.unsqueeze(-1) + POWER_FLOOR, mask


def divergence(model, state, variance, mask):
    return float((itakura_saito(variance, model.variance(state)).sum(-1) * mask).sum())


@pytest.mark.parametrize("of_all", [True, False], ids=["on all frames", "on all frames at last"])
def test_the_fit_of_an_nmf_falls_at_every_update(monkeypatch, of_all):
    variance, mask = proposal()
    model = loop().noise
    start = model.init(variance, mask, streams_for([30, 25]))
    first = divergence(model, start, variance, mask)
    falling = []
    for updates in range(FIT_UPDATES + 1):
        early = 0 if of_all else FIT_UPDATES
        monkeypatch.setattr("vae_se.noise.nmf.FIT_UPDATES", early + updates)
        monkeypatch.setattr("vae_se.noise.nmf._LAST", updates)
        falling.append(divergence(model, model.start_at(start, variance, mask), variance, mask))
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(falling))
    assert falling[-1] < 0.3 * first


def test_the_fit_by_means_of_frames_is_nearly_that_on_all(monkeypatch):
    """Where the spectra change slowly: the divergence is less than a tenth above."""
    generator = torch.Generator().manual_seed(6)
    w = torch.rand(1, 2, BINS, generator=generator, dtype=torch.float64) ** 2 + 1e-3
    time = torch.arange(120, dtype=torch.float64)
    h = torch.stack([1.1 + torch.sin(time / 9), 1.1 + torch.cos(time / 7)], -1).unsqueeze(0)
    noise = torch.empty(1, 120, BINS, dtype=torch.float64).log_normal_(0, 0.3, generator=generator)
    variance, mask, model = h @ w * noise, torch.ones(1, 120, dtype=torch.float64), loop().noise
    start = model.init(variance, mask, streams_for([120]))
    some = divergence(model, model.start_at(start, variance, mask), variance, mask)
    monkeypatch.setattr("vae_se.noise.nmf._LAST", FIT_UPDATES)
    everything = divergence(model, model.start_at(start, variance, mask), variance, mask)
    assert some < 1.1 * everything


def test_the_fit_keeps_a_click_of_one_frame_wherever_it_lies():
    """Among the frames whose mean is taken, that is; with every third frame alone its place would matter."""
    generator = torch.Generator().manual_seed(6)
    steady, click = torch.rand(2, BINS, generator=generator, dtype=torch.float64) + 0.1
    model, found = loop().noise, []
    for frame in (30, 31, 32):
        variance, mask = steady.expand(1, 90, BINS).clone(), torch.ones(1, 90, dtype=torch.float64)
        variance[0, frame] += 300 * click
        fitted = model.variance(model.start_at(model.init(variance, mask, streams_for([90])), variance, mask))
        found.append(float(itakura_saito(variance, fitted)[0, frame].mean()))
    assert max(found) < 0.3
    assert max(found) - min(found) < 1e-6


def test_the_fit_does_not_raise_the_divergence_of_any_noise_model(noise_settings):
    variance, mask = proposal()
    model = loop(**noise_settings).noise
    power = -variance * torch.log(torch.rand(variance.shape, generator=torch.Generator().manual_seed(3)))
    start = model.init(power, mask, streams_for([30, 25]))
    before = divergence(model, start, variance, mask)
    fitted = model.start_at(start, variance, mask)
    assert torch.isfinite(model.variance(fitted)).all()
    assert divergence(model, fitted, variance, mask) <= before * (1 + 1e-6)


# ---- inference.noisy_encoder


@pytest.fixture
def folder(tmp_path):
    """The folder of a prior with its noisy encoder."""
    prior = tiny_prior()
    save_prior(prior, tmp_path / "prior", "ffvae")
    stored = load_prior(tmp_path / "prior")
    save_noisy_encoder(network(torch.float32), stored, tmp_path / "prior" / "noisy_encoder")
    return tmp_path / "prior"


def built(folder, value, prior=None):
    config = Config().override({"prior": str(folder), "inference.noisy_encoder": value})
    return build_em(config, prior or load_prior(folder)).noisy_encoder


def test_auto_takes_the_noisy_encoder_in_the_folder_of_the_prior(folder):
    found = built(folder, "auto")
    assert found is not None
    assert not any(p.requires_grad for p in found.parameters())
    # The folder's noisy encoder does not belong to another prior of the caller.
    assert built(folder, "auto", tiny_prior(seed=1)) is None
    shutil.rmtree(folder / "noisy_encoder")
    assert built(folder, "auto") is None


def test_none_gives_no_noisy_encoder(folder):
    assert built(folder, "none") is None


def test_a_folder_by_name(folder, tmp_path):
    (folder / "noisy_encoder").rename(tmp_path / "elsewhere")
    assert built(folder, str(tmp_path / "elsewhere")) is not None
    with pytest.raises(PriorError, match="cannot read"):
        built(folder, str(tmp_path / "nowhere"))
    with pytest.raises(PriorError, match="another prior"):
        built(folder, str(tmp_path / "elsewhere"), tiny_prior(seed=1))
