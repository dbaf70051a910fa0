"""One iteration of EM, its start and its averaged filter, put together from slow loops."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from tests.reference import loops
from tests.toys import SIGNAL, LinearPrior, model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.inference.averaging import averaged_filter
from vae_se.inference.draws import Draws
from vae_se.inference.em import init, step
from vae_se.inference.estep.chain import Chains
from vae_se.inference.initialisation import pick_start
from vae_se.inference.target import Target
from vae_se.inference.wiener import filter_moments
from vae_se.likelihood import frame_log_prob
from vae_se.noise.nmf import NMF
from vae_se.numerics import POWER_FLOOR
from vae_se.rng import Streams

FRAMES = 6


def streams():
    return Streams.from_seed(0, ["a"], [FRAMES])


def em_of(**settings):
    """A model in double precision, power (1, N, F) that is louder than the model, and a mask."""
    prior = tiny_prior(dtype=torch.float64)
    em = build_em(Config().override({"noise.rank": 2, **settings}), prior)
    return em, 4 * model_power(prior, 1, FRAMES), torch.ones(1, FRAMES, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["frame", "file", "fixed"])
def test_an_iteration_is_the_m_steps_of_the_loops_one_after_the_other(kind):
    """The noise is fitted beside speech of the new gain, under the weights of the draws."""
    em, power, mask = em_of(**{
        "estep.name": "encoder-is", "estep.draws": 3, "gain.kind": kind, "gain.concentration": 0.0,
        "noise.exponent": 0.5,
    })  # fmt: skip
    state = init(em, power, mask, streams())
    state = dataclasses.replace(state, gain=torch.full_like(state.gain, 0.3))
    new, _ = step(em, power, mask, state, streams())
    draws = new.estep.draws
    weight, unit = draws.log_weight[0].exp().numpy(), draws.log_variance[0].exp().numpy()
    assert np.ptp(weight, axis=0).min() > 0.01  # the weights are unequal, so that it shows where they are lost
    floored = (power[0] + POWER_FLOOR).numpy()
    noise, old = em.noise.variance(state.noise)[0].numpy(), state.gain[0].numpy()
    if kind == "frame":
        gain = loops.gain_step(floored, unit, noise, weight, old, 0.0)
    elif kind == "file":
        v = old[0] * unit + noise
        above = (weight[..., None] * floored * unit / v**2).sum()
        gain = np.full(FRAMES, old[0] * math.sqrt(above / (weight[..., None] * unit / v).sum()))
    else:
        gain = old
    np.testing.assert_allclose(new.gain[0].numpy(), gain, rtol=1e-9)
    speech = unit * gain[:, None]
    w, h = loops.nmf_step(floored, speech, weight, state.noise.w[0].numpy(), state.noise.h[0].numpy())
    np.testing.assert_allclose(em.noise.variance(new.noise)[0].numpy(), h @ w, rtol=1e-8)


def test_em_starts_from_the_encoder_at_the_power_less_the_noise():
    em, power, mask = em_of(**{"estep.name": "map", "inference.encoder_floor": 0.1})
    state = init(em, power, mask, streams())
    floored = power + POWER_FLOOR
    noise = em.noise.variance(em.noise.init(floored, mask, streams()))
    less = torch.where(floored - noise > 0.1 * floored, floored - noise, 0.1 * floored)
    assert 0.1 < (less == 0.1 * floored).double().mean() < 0.9  # both branches occur
    torch.testing.assert_close(state.estep.draws.z[:, 0], em.prior.encode(less).mean)


def weighted_case(draws=4):
    """A target of a loud noise, and unequally weighted draws."""
    prior = tiny_prior(dtype=torch.float64)
    power = model_power(prior, 1, FRAMES)
    ones = torch.ones(1, FRAMES, dtype=torch.float64)
    noise = torch.full_like(power, 0.4)
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(1, draws, FRAMES, prior.latent_dim, generator=generator, dtype=torch.float64)
    weight = torch.rand(1, draws, FRAMES, generator=generator, dtype=torch.float64)
    return Target(prior, power, noise, 0.7 * ones, ones), Draws.weighted(z, 4 * weight, prior.decode(z))


def test_the_speech_power_of_an_encoder_is_squared_mean_plus_variance():
    """E|s|^2 = |E s|^2 + Var s, with both moments by the filter."""
    target, draws = weighted_case()
    moments = filter_moments(target, draws)
    expected = moments.mean().square() * target.power + moments.variance(target.power)
    torch.testing.assert_close(target.speech_power(draws.log_variance, draws.log_weight), expected)


def choices(margin):
    """The start chosen in each of 200 frames, between noise of variance 1 and of variance 2."""
    frames, bins = 200, SIGNAL.stft.bins
    prior = LinearPrior(torch.zeros(bins, 12, dtype=torch.float64), proposal_std=1.0)
    power = torch.full((1, frames, bins), 2.0, dtype=torch.float64)
    seen = {}

    class Two(NMF):
        has_alternatives = True

        @property
        def margin(self):
            return margin

        def variance(self, state):
            return torch.full_like(power, float(state))

        def alternatives(self, state, power, mask):
            return [2.0]

        def pick(self, states, choice):
            seen["choice"] = choice
            return states[0]

    mask = torch.ones(1, frames, dtype=torch.float64)
    pick_start(Two(), 1.0, power, mask, prior, 0.05, Streams.from_seed(0, ["a"], [frames]))
    return seen["choice"][0].double()


def test_a_start_is_chosen_by_the_evidence_whatever_latents_are_drawn():
    """Where the spectrum does not depend on z and q = p, the importance weights are equal: the evidence is the
    likelihood, v = 1 + 1 against v = 1 + 2, exactly."""
    bins = SIGNAL.stft.bins
    power = torch.full((bins,), 2.0)
    one, two = (frame_log_prob(torch.full((bins,), math.log(v)), power / v) for v in (2.0, 3.0))
    gap = float(one - two)
    assert gap > 1
    # The alternative is worse by `gap`, so a margin just above -gap decides every frame alike.
    assert choices(-gap + 0.01).sum() == 0
    assert choices(-gap - 0.01).mean() == 1


@pytest.mark.parametrize("noise", ["nmf", "alpha-stable"])
def test_the_filter_averages_over_the_draws_of_all_e_steps(noise):
    """Moments pooled over the draws of three E-steps; hidden variables of the noise are drawn after each."""
    em, power, mask = em_of(**{"estep.name": "mh", "estep.draws": 2, "noise.name": noise})
    state = init(em, power, mask, streams())
    found = averaged_filter(em, power, mask, state, streams(), averaging=3)

    source, share, within, now = streams(), [], [], state
    kernel = em.estep.frozen(state.estep)
    for _ in range(3):
        target = em.target(power, mask, now)
        kernel, _ = em.estep.step(target, kernel, source)
        speech = target.speech_variance(kernel.draws.log_variance)[0]
        share += list(speech / (speech + target.noise))
        within += list(speech / (speech + target.noise) * target.noise)
        drawn = em.noise.sample_auxiliary(
            now.noise, target.power, speech[None], kernel.draws.log_weight, mask, source
        )
        assert em.noise.auxiliary == (drawn is not now.noise)
        now = dataclasses.replace(now, noise=drawn)
    share, within = torch.stack(share), torch.stack(within)
    mean = share.mean(0)
    torch.testing.assert_close(found.wiener[0], mean)
    spread = (share - mean).square().mean(0) * (power[0] + POWER_FLOOR)
    torch.testing.assert_close(found.variance[0], within.mean(0) + spread, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["mh", "mala", "encoder-mh", "vem-mh"])
def test_chains_report_log_p_at_the_present_parameters(name):
    """W, H and g change between E-steps, and with them log p(x, z) of chains that reject every proposal."""
    settings = {"mh": {"estep.step_size": 2.0}, "mala": {"estep.step_size": 2.0}, "vem-mh": {"estep.warmup": 1}}
    em, power, mask = em_of(**{"estep.name": name, "estep.sweeps": 1, **settings.get(name, {})})
    state = init(em, power, mask, streams())
    target, random, kernel = em.target(power, mask, state), streams(), state.estep
    for _ in range(2):
        kernel, _ = em.estep.step(target, kernel, random)
    louder = dataclasses.replace(target, noise=3 * target.noise, gain=2 * target.gain)
    kernel, info = em.estep.step(louder, kernel, random)
    assert info.acceptance.item() < 1
    expected = Chains.at(louder, kernel.draws.z).log_joint
    torch.testing.assert_close(info.joint, expected)
    torch.testing.assert_close(info.objective, expected.mean((1, 2)))


def test_the_chains_of_vem_mh_adapt_for_as_many_steps_as_they_are_told():
    em, power, mask = em_of(**{"estep.name": "vem-mh", "estep.warmup": 1, "estep.adaptation": 3})
    random, sizes = streams(), []
    state = init(em, power, mask, random)
    for _ in range(7):
        state, _ = step(em, power, mask, state, random)
        sizes.append(state.estep.size.log_size)
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(sizes)]
    assert changed == [True, True, True, False, False, False]
