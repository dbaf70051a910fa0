"""What every prior architecture promises, in float64; and what the store refuses."""

import json
import shutil

import pytest
import torch

from tests.toys import SIGNAL
from vae_se.errors import PriorError
from vae_se.likelihood import gaussian_log_prob
from vae_se.priors import PRIORS, SpeechPrior, load_prior, save_prior
from vae_se.rng import Streams

#: Small models of every architecture.
SMALL = {"ffvae": {"hidden": (6, 12), "latent_dim": 3}}
BATCH, FRAMES, DRAWS = 2, 7, 5


@pytest.fixture(params=list(PRIORS))
def architecture(request):
    return request.param


@pytest.fixture
def prior(architecture):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PRIORS[architecture](**SMALL[architecture], signal=SIGNAL).double()


@pytest.fixture
def power(prior):
    generator = torch.Generator().manual_seed(1)
    shape = (BATCH, FRAMES, prior.signal.stft.bins)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 10


def test_is_a_speech_prior(prior):
    assert isinstance(prior, SpeechPrior)


def test_draws_have_the_density_that_they_say(prior, power):
    posterior = prior.encode(power)
    z, log_q = posterior.rsample(DRAWS, torch.Generator().manual_seed(2))
    assert z.shape == (BATCH, DRAWS, FRAMES, prior.latent_dim)
    torch.testing.assert_close(log_q, posterior.log_prob(z))
    expected = gaussian_log_prob(z, posterior.mean.unsqueeze(1), posterior.log_variance.unsqueeze(1))
    torch.testing.assert_close(log_q, expected)
    std = (0.5 * posterior.log_variance).exp()
    normal = torch.distributions.Normal(posterior.mean.unsqueeze(1), std.unsqueeze(1))
    torch.testing.assert_close(log_q, normal.log_prob(z).sum(-1))


def test_divergence_agrees_with_torch_and_with_draws(prior, power):
    posterior = prior.encode(power)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(posterior.mean, (0.5 * posterior.log_variance).exp()),
        normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean)),
    ).sum(-1)
    torch.testing.assert_close(posterior.kl(), expected)
    z, log_q = posterior.rsample(20000, torch.Generator().manual_seed(3))
    drawn = log_q - prior.log_prior(z)
    error = drawn.std(1) / 20000**0.5
    assert ((drawn.mean(1) - expected).abs() < 5 * error + 1e-6).all()


def test_shapes_and_ranges(prior, power):
    z, _ = prior.encode(power).rsample(DRAWS, torch.Generator().manual_seed(2))
    log_variance = prior.decode(z)
    assert log_variance.shape == (BATCH, DRAWS, FRAMES, power.shape[-1])
    assert prior.log_prior(z).shape == ((BATCH, DRAWS, FRAMES) if prior.factorised else (BATCH, DRAWS))
    assert torch.isfinite(prior.decode(z * 1e6)).all()
    for scale in (0.0, 1e-12, 1e12):
        posterior = prior.encode(power * scale)
        assert torch.isfinite(posterior.mean).all()
        assert torch.isfinite(posterior.log_variance).all()


def test_batch_is_one_by_one(prior, power):
    whole = prior.encode(power)
    for row in range(BATCH):
        torch.testing.assert_close(whole.mean[row], prior.encode(power[row : row + 1]).mean[0])
    z, _ = whole.rsample(DRAWS, Streams.from_seed(0, ["a", "b"], [FRAMES, FRAMES]))
    alone, _ = prior.encode(power[1:]).rsample(DRAWS, Streams.from_seed(0, ["b"], [FRAMES]))
    torch.testing.assert_close(z[1], alone[0])
    torch.testing.assert_close(prior.decode(z)[1], prior.decode(alone)[0])


def test_factorised_means_that_frames_do_not_meet(prior):
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(1, 1, FRAMES, prior.latent_dim, dtype=torch.float64, generator=generator)
    changed = z.clone()
    changed[:, :, 3] += 1
    differs = (prior.decode(z) != prior.decode(changed)).any(-1)[0, 0]
    assert differs[3]
    if prior.factorised:
        assert differs.sum() == 1


def test_gradients_reach_every_parameter(prior, power):
    # The heads of the variance start at zero and would block what lies behind them.
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    posterior = prior.encode(power)
    z, _ = posterior.rsample(1, torch.Generator().manual_seed(6))
    (prior.decode(z).square().mean() + posterior.kl().mean()).backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    encoder = {id(p) for p in prior.encoder_parameters()}
    assert 0 < len(encoder) < len(list(prior.parameters()))


def test_sampling_from_the_prior(prior):
    z = prior.sample(4000, torch.Generator().manual_seed(7))
    assert z.shape == (1, 1, 4000, prior.latent_dim)
    assert z.mean().abs() < 0.05
    assert (z.std() - 1).abs() < 0.05
    assert torch.isfinite(prior.decode(z)).all()


def test_saved_and_loaded_is_the_same(prior, architecture, power, tmp_path):
    save_prior(prior.float(), tmp_path / "mine", architecture, note="a test")
    state = torch.get_rng_state()
    loaded = load_prior(tmp_path / "mine")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.signal == prior.signal
    assert loaded.config() == prior.config()
    assert not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(loaded.encode(power.float()).mean, prior.encode(power.float()).mean)
    assert not list((tmp_path / "mine").glob("*.tmp"))


@pytest.fixture
def saved(tmp_path):
    prior = PRIORS["ffvae"](**SMALL["ffvae"], signal=SIGNAL)
    save_prior(prior, tmp_path / "p", "ffvae")
    return tmp_path / "p"


def edit(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(config))


def test_bad_weights_are_one_clear_line(saved, tmp_path):
    with pytest.raises(PriorError, match="unknown prior 'nothing'"):
        load_prior("nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PriorError, match="no prior in"):
        load_prior(tmp_path / "empty")
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    edit(other, model={"hidden": [6, 13], "latent_dim": 3})
    with pytest.raises(PriorError, match="does not fit its config"):
        load_prior(other)
    odd = {"rate": 16000, "window": 63}
    for changes in ({"model": {"widht": 3}}, {"architecture": "ffvea"}, {"signal": odd}):
        shutil.rmtree(other)
        shutil.copytree(saved, other)
        edit(other, **changes)
        with pytest.raises(PriorError, match="bad configuration"):
            load_prior(other)
    edit(other, format=99)
    with pytest.raises(PriorError, match="format 99"):
        load_prior(other)
    (other / "config.json").write_text("{")
    with pytest.raises(PriorError, match="cannot read"):
        load_prior(other)
    data = (saved / "weights.safetensors").read_bytes()
    (saved / "weights.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(PriorError, match="cannot read"):
        load_prior(saved)
    (saved / "weights.safetensors").unlink()
    with pytest.raises(PriorError, match="cannot read"):
        load_prior(saved)


def test_weights_that_are_not_finite(saved):
    import safetensors.torch

    path = saved / "weights.safetensors"
    tensors = safetensors.torch.load_file(path)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(PriorError, match="not finite"):
        load_prior(saved)
