"""The contract of all prior architectures, in float64, and the errors of the store."""

import json
import shutil

import numpy as np
import pytest
import torch

from tests.toys import SIGNAL
from vae_se.errors import PriorError
from vae_se.likelihood import LOG_PI
from vae_se.priors import PRIORS, SpeechPrior, load_prior, save_prior
from vae_se.priors.morph import morph
from vae_se.priors.voice import sample_voice
from vae_se.rng import Streams
from vae_se.training.resynthesis import resynthesise

SMALL = {"hidden": (6, 12), "latent_dim": 3}
#: What makes small models of architectures that have more to choose.
MORE = {
    "flow-vae": {"flows": 2},
    "flow-vae-zuko": {"bins": 4, "width": 8},
    "dsae": {"static": 1, "hidden_size": 5},
    **{
        name: {"hidden_size": 5}
        for name in ("dkf", "dkf-driven", "storn", "vrnn", "srnn", "rvae", "latent-rnn")
    },
}
BATCH, FRAMES, DRAWS = 2, 7, 5


@pytest.fixture(params=list(PRIORS))
def architecture(request):
    if request.param == "flow-vae-zuko":
        pytest.importorskip("zuko")
    return request.param


@pytest.fixture
def prior(architecture):
    """A small model whose parameters are all of a size that shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PRIORS[architecture](**SMALL, **MORE.get(architecture, {}), signal=SIGNAL).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.fixture
def power(prior):
    generator = torch.Generator().manual_seed(1)
    shape = (BATCH, FRAMES, prior.signal.stft.bins)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 10


def draw(prior, power, mask=None):
    """Draws from the posterior, one stream per utterance."""
    lengths = [power.shape[1]] * len(power) if mask is None else mask.sum(1).int().tolist()
    streams = Streams.from_seed(0, ["a", "b"][-len(power) :], lengths)
    return prior.encode(power, mask).rsample(DRAWS, streams)


def test_is_a_speech_prior(prior):
    assert isinstance(prior, SpeechPrior)


def test_draws_have_the_density_that_they_say(prior, power):
    posterior = prior.encode(power)
    for generator in (
        torch.Generator().manual_seed(2),
        Streams.from_seed(0, ["a", "b"], [FRAMES, FRAMES]),
    ):
        z, log_q = posterior.rsample(DRAWS, generator)
        assert z.shape == (BATCH, DRAWS, FRAMES, prior.latent_dim)
        assert log_q.shape == (BATCH, DRAWS, FRAMES)
        torch.testing.assert_close(log_q, posterior.log_prob(z))
    assert posterior.mean.shape == posterior.log_variance.shape == (BATCH, FRAMES, prior.latent_dim)


def test_a_gaussian_posterior_is_one():
    torch.manual_seed(0)
    prior = PRIORS["ffvae"](**SMALL, signal=SIGNAL).double()
    posterior = prior.encode(torch.rand(BATCH, FRAMES, SIGNAL.stft.bins, dtype=torch.float64))
    z, log_q = posterior.rsample(DRAWS, torch.Generator().manual_seed(2))
    normal = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    torch.testing.assert_close(log_q, normal.log_prob(z.transpose(0, 1)).sum(-1).transpose(0, 1))
    standard = torch.distributions.Normal(torch.zeros_like(normal.mean), torch.ones_like(normal.mean))
    torch.testing.assert_close(posterior.kl(), torch.distributions.kl_divergence(normal, standard).sum(-1))


def test_both_terms_of_the_bound_agree_with_importance_weights(prior, architecture, power):
    """-E[nll] - E[KL], of training, and E[log p(s, z) - log q(z | s)], of the ranking, are the same ELBO."""
    if architecture == "ae":
        pytest.skip("its q has no density; its importance weights are those of a Gaussian")
    with torch.no_grad():
        prior.output.weight.mul_(0.01)  # what z does to the nll would drown the rest
    count = 4000
    many = power[:1].expand(count, -1, -1)
    with torch.no_grad():
        result = prior.reconstruct(many, torch.Generator().manual_seed(3))
        trained = -(prior.nll(many, result.log_variance) + result.kl.sum(-1)).sum(-1)
        weights = prior.log_weight(power[:1], count, torch.Generator().manual_seed(4))[0].sum(-1)
    trained = trained - FRAMES * power.shape[-1] * LOG_PI
    error = ((trained.var() + weights.var()) / count).sqrt()
    assert (trained.mean() - weights.mean()).abs() < 4 * error
    assert result.kl.sum((1, 2)).mean() > 10 * error  # a tenth of it too much would be seen


def test_shapes_and_ranges(prior, power):
    z, _ = draw(prior, power)
    log_variance = prior.decode(z)
    assert log_variance.shape == (BATCH, DRAWS, FRAMES, power.shape[-1])
    assert prior.log_prior(z).shape == (BATCH, DRAWS, FRAMES)
    assert prior.nll(power.unsqueeze(1), log_variance).shape == (BATCH, DRAWS, FRAMES)
    result = prior.reconstruct(power, torch.Generator().manual_seed(2))
    assert result.log_variance.shape == power.shape
    assert result.kl.shape[:2] == (BATCH, FRAMES)
    assert torch.isfinite(prior.decode(z * 1e6)).all()
    for scale in (0.0, 1e-12, 1e12):
        posterior = prior.encode(power * scale)
        assert torch.isfinite(posterior.mean).all()
        assert torch.isfinite(posterior.log_variance).all()


def test_batch_is_one_by_one(prior, power):
    """Also where one of two utterances is shorter and its padding is noise."""
    short = FRAMES - 3
    mask = torch.ones(BATCH, FRAMES, dtype=torch.float64)
    mask[1, short:] = 0
    for given, end in ((None, FRAMES), (mask, short)):
        alone, whole = power[1:, :end], prior.encode(power, given)
        torch.testing.assert_close(whole.mean[1, :end], prior.encode(alone).mean[0])
        z, log_q = draw(prior, power, given)
        z_alone, log_q_alone = draw(prior, alone)
        torch.testing.assert_close(z[1, :, :end], z_alone[0])
        torch.testing.assert_close(log_q[1, :, :end], log_q_alone[0])
        torch.testing.assert_close(prior.decode(z, given)[1, :, :end], prior.decode(z_alone)[0])
        torch.testing.assert_close(prior.log_prior(z)[1, :, :end], prior.log_prior(z_alone)[0])


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
    result = prior.reconstruct(power, torch.Generator().manual_seed(6))
    (prior.nll(power, result.log_variance).mean() + result.kl.sum(-1).mean()).backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_encoder_s_parameters_are_not_the_model_s(prior, power):
    z, _ = draw(prior, power)
    before = prior.decode(z), prior.log_prior(z), prior.encode(power).mean
    with torch.no_grad():
        for parameter in prior.encoder_parameters():
            parameter.add_(0.1)
    assert torch.equal(prior.decode(z), before[0])
    assert torch.equal(prior.log_prior(z), before[1])
    assert not torch.allclose(prior.encode(power).mean, before[2])


def test_sampling_from_the_prior(prior):
    frames = 4000 if prior.factorised else 40
    z = prior.sample(frames, torch.Generator().manual_seed(7))
    assert z.shape == (1, 1, frames, prior.latent_dim)
    assert torch.isfinite(prior.decode(z)).all()
    assert torch.equal(z, prior.sample(frames, torch.Generator().manual_seed(7)))
    if prior.factorised:  # kernels rely on latents of unit size
        assert z.mean().abs() < 0.05
        assert (z.std() - 1).abs() < 0.05


def test_sampling_resynthesis_and_morphing(prior):
    """The functions behind `prior sample`, the scores of training and `prior morph`."""
    prior = prior.float().eval().requires_grad_(False)
    sound = sample_voice(prior, 0.02, torch.Generator().manual_seed(8), iterations=2)
    assert sound.shape == (320,)
    assert torch.isfinite(sound).all()
    again = resynthesise(prior, sound.numpy())
    assert again.shape == (320,)
    assert np.isfinite(again).all()
    assert torch.isfinite(morph(prior, sound, 2 * sound).log_variance).all()


def test_saved_and_loaded_is_the_same(prior, architecture, power, tmp_path):
    prior = prior.float().eval().requires_grad_(False)
    for parameter in prior.parameters():  # parameters are stored in half precision
        parameter.copy_(parameter.half())
    save_prior(prior, tmp_path / "mine", architecture, note="a test")
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
    prior = PRIORS["ffvae"](**SMALL, signal=SIGNAL)
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
