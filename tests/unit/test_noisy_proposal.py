"""What a noisy encoder proposes, the context that follows from it, and the pool of two posteriors."""

import dataclasses
import math

import pytest
import torch
from scipy import stats

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import UsageError
from vae_se.inference.contextual import Context, ContextualPrior
from vae_se.inference.noisy_proposal import RUMBLE, VOICE_FROM_HZ, opinion_pool, proposal_of
from vae_se.inference.target import Target
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.priors import GaussianPosterior
from vae_se.rng import Streams

BINS, LATENT = SIGNAL.stft.bins, 4


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = ConvolutionalNoisyEncoder(BINS, LATENT, width=8, channels=2, blocks=2)
        for parameter in net.parameters():
            parameter.data.mul_(2)
        return net.eval().requires_grad_(False)


def run(**settings):
    config = Config().override(
        {"noise.rank": 3, "inference.noisy_encoder": "none", "inference.iterations": 3, **settings}
    )
    prior = tiny_prior()
    em = dataclasses.replace(build_em(config, prior), noisy_encoder=network())
    power = model_power(prior, 1, 9)
    return em.run(power, torch.ones(1, 9), Streams.from_seed(0, ["a"], [9])), em, power


def test_the_proposal_is_the_wiener_filter_of_the_network_s_variances():
    prior, power, mask = tiny_prior(), model_power(tiny_prior(), 2, 5), torch.ones(2, 5)
    says = network()(power, mask)
    found = proposal_of(says, prior, prior, power, mask, 0.5)
    deviation = says.log_deviation.clone()
    below = math.ceil(VOICE_FROM_HZ / prior.signal.rate * prior.signal.window)  # bins without a voice
    assert below == 1
    deviation[..., 0] = math.log(RUMBLE)
    speech = torch.exp(prior.decode(says.posterior.mean.unsqueeze(1))[:, 0] + deviation)
    noise = says.log_noise.exp()
    torch.testing.assert_close(found.wiener, speech / (speech + noise))
    torch.testing.assert_close(found.variance, 1 / (1 / speech + 1 / noise))
    torch.testing.assert_close(found.noise_power, (1 - found.wiener) ** 2 * power + found.variance)
    assert says.log_deviation.abs().max() > 0.01
    torch.testing.assert_close(found.deviation[..., 1:] ** 2, says.log_deviation[..., 1:].exp())
    assert torch.equal(found.deviation[..., 0], torch.full((2, 5), RUMBLE))


def test_the_width_of_the_noise_adds_to_the_variance_of_the_estimate():
    """Against draws of a log-normal noise variance, for a small width."""
    prior, power, mask = tiny_prior(), model_power(tiny_prior(), 1, 5), torch.ones(1, 5)
    says, std = network()(power, mask), 0.1
    sure = proposal_of(says, prior, prior, power, mask, 0.5)
    wide = proposal_of(
        dataclasses.replace(says, noise_std=torch.full_like(power, std)), prior, prior, power, mask, 0.5
    )
    draws = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    filters = torch.sigmoid(torch.logit(sure.wiener) - std * draws)
    expected = power * filters.var(0)
    torch.testing.assert_close(wide.variance - sure.variance, expected, rtol=0.1, atol=1e-4)
    assert torch.equal(wide.wiener, sure.wiener)


def test_the_deviation_is_a_factor_of_the_speech_variance_everywhere():
    """A target with a deviation d is the target without it for a recording divided by the root of d."""
    prior, power = tiny_prior(), model_power(tiny_prior(), 2, 5)
    noise, gain, mask = power.flip(1) + 0.1, torch.full((2, 5), 1.3), torch.ones(2, 5)
    factor = torch.rand(2, 5, BINS, generator=torch.Generator().manual_seed(2)) + 0.5
    target = Target(prior, power, noise, gain, mask, deviation=factor)
    other = Target(prior, power / factor, noise / factor, gain, mask)
    log_variance = prior.decode(torch.randn(2, 3, 5, LATENT, generator=torch.Generator().manual_seed(1)))
    value, slope = target.log_likelihood_and_gradient(log_variance)
    torch.testing.assert_close(value, target.log_likelihood(log_variance))
    value_other, slope_other = other.log_likelihood_and_gradient(log_variance)
    torch.testing.assert_close(value, value_other - factor.log().sum(-1).unsqueeze(1))
    torch.testing.assert_close(slope, slope_other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(target.fisher(log_variance), other.fisher(log_variance))
    equal = torch.zeros(2, 3, 5)
    speech = [t.speech_power(log_variance, equal) for t in (target, other)]
    torch.testing.assert_close(speech[0], speech[1] * factor)
    assert torch.equal(target.at(slice(1, 3)).deviation, factor[:, 1:3])


def test_another_prior_encodes_the_speech_that_the_network_found():
    own, other = tiny_prior(), tiny_prior(latent_dim=2)
    power, mask = model_power(own, 2, 5), torch.ones(2, 5)
    says = network()(power, mask)
    alone, found = (proposal_of(says, own, prior, power, mask, 0.5) for prior in (own, other))
    assert torch.equal(alone.wiener, found.wiener)
    assert torch.equal(alone.noise_power, found.noise_power)
    expected = other.encode(found.wiener.square() * power, mask)
    assert torch.equal(found.posterior.mean, expected.mean)
    assert found.posterior.mean.shape[-1] == 2


def test_at_weight_one_the_result_is_the_network_s_and_at_zero_that_of_em():
    whole, em, power = run(**{"inference.encoder_weight": 1.0, "inference.learnt_weight": 0.0})
    floored, mask = power + 1e-10, torch.ones(1, 9)
    proposal = em.proposal_of(em.noisy_encoder(floored, mask), floored, mask)
    torch.testing.assert_close(whole.wiener, proposal.wiener, atol=1e-4, rtol=1e-3)
    alone, em, power = run(**{"inference.encoder_weight": 0.0, "inference.learnt_weight": 0.0})
    half, _, _ = run(**{"inference.encoder_weight": 0.5, "inference.learnt_weight": 0.0})
    low = torch.minimum(alone.wiener, proposal.wiener) - 1e-4
    high = torch.maximum(alone.wiener, proposal.wiener) + 1e-4
    assert ((half.wiener >= low) & (half.wiener <= high)).all()
    assert (alone.wiener - proposal.wiener).abs().max() > 0.05


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_pool_of_gaussians_is_their_weighted_geometric_mean(weight):
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    pairs = (-0.5, 0.8), (1.2, 2.5)
    logs = [torch.tensor(stats.norm.logpdf(grid.numpy(), m, v**0.5)) for m, v in pairs]
    density = torch.softmax(weight * logs[0] + (1 - weight) * logs[1], 0)
    mean = float((density * grid).sum())
    variance = float((density * (grid - mean) ** 2).sum())
    tensors = [tuple(torch.tensor([x], dtype=torch.float64) for x in pair) for pair in pairs]
    found = opinion_pool(*tensors, weight)
    assert float(found[0]) == pytest.approx(mean, abs=1e-6)
    assert float(found[1]) == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
def test_a_context_is_the_product_of_its_two_densities(weight):
    posterior = GaussianPosterior(torch.tensor([[[1.5]]]), torch.tensor([[[-1.0]]]))
    context = Context.pooled(posterior, weight)
    z = torch.linspace(-3, 3, 7)
    rest = max(0.0, 1 - weight)
    log_product = -0.5 * (weight * (z - 1.5) ** 2 / torch.exp(torch.tensor(-1.0)) + rest * z**2)
    log_context = -0.5 * ((z - context.mean.item()) / context.scale.item()) ** 2
    difference = log_product - log_context
    torch.testing.assert_close(difference, difference[:1].expand(7), atol=1e-5, rtol=0)


def test_a_contextual_prior_is_its_base_in_other_coordinates():
    base, generator = tiny_prior(), torch.Generator().manual_seed(0)
    context = Context(torch.randn(2, 5, LATENT, generator=generator), torch.full((2, 5, LATENT), 0.3))
    prior, u = ContextualPrior(base, context), torch.randn(2, 3, 5, LATENT, generator=generator)
    z = context.mean.unsqueeze(1) + 0.3 * u
    assert torch.equal(prior.decode(u), base.decode(z))
    q = base.encode(model_power(base, 2, 5))
    white = prior.whitened(q)
    torch.testing.assert_close(white.mean * 0.3 + context.mean, q.mean)
    torch.testing.assert_close(white.log_prob(u), q.log_prob(z) + LATENT * torch.tensor(0.3).log())
    some = slice(1, 4)
    assert torch.equal(prior.frames(some).decode(u[:, :, some]), prior.decode(u)[:, :, some])
    directions = u.transpose(1, 2)[:, some]
    torch.testing.assert_close(
        prior.decode_directions(directions, some), base.decode(z).transpose(1, 2)[:, some]
    )


def test_the_context_is_as_wide_as_the_network_s_own_error():
    """Around the mean at which EM starts; none where the network does not say it, or speaks of other
    latents."""
    prior, power, mask = tiny_prior(), model_power(tiny_prior(), 2, 5), torch.ones(2, 5)
    says = network()(power, mask)
    found = proposal_of(says, prior, prior, power, mask, 0.5)
    assert torch.equal(found.context.mean, found.posterior.mean)
    assert torch.equal(found.context.log_variance, says.spread.log_variance)
    silent = dataclasses.replace(says, spread=None)
    assert proposal_of(silent, prior, prior, power, mask, 0.5).context is None
    assert proposal_of(says, prior, tiny_prior(), power, mask, 0.5).context is None


def test_a_recording_s_context_is_part_of_its_prior_by_default():
    estimate, em, power = run()
    assert em.context_weight == 1
    context, proposal = estimate.state.context, estimate.state.proposal
    torch.testing.assert_close(context.scale, torch.exp(0.5 * proposal.context.log_variance))
    torch.testing.assert_close(context.mean, proposal.context.mean)
    assert isinstance(em.target(power, torch.ones(1, 9), estimate.state).prior, ContextualPrior)


def test_weights_out_of_range_are_refused():
    for key in ("inference.context_weight", "inference.encoder_weight"):
        with pytest.raises(UsageError, match=key.partition(".")[2]):
            Config().override({key: -0.1})
