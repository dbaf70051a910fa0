"""The fast M-step and filter, compared with the slow loops, autograd and scikit-learn."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.reference import loops
from tests.toys import SIGNAL, tiny_prior
from vae_se.inference.draws import Draws
from vae_se.inference.gain import Gain
from vae_se.inference.target import Target
from vae_se.inference.wiener import filter_moments
from vae_se.likelihood import complex_gaussian_log_prob
from vae_se.noise.dictionary import Dictionary
from vae_se.noise.multiplicative import draw_weight, update_h, update_w
from vae_se.noise.nmf import NMF, NMFState
from vae_se.noise.store import NoiseDictionary, save_dictionary
from vae_se.rng import Streams

BATCH, DRAWS, FRAMES, ATOMS = 2, 3, 4, 2


@pytest.fixture(params=[1e-4, 1.0, 1e4], ids=["quiet", "unit", "loud"])
def case(request):
    """A target, weighted draws and an NMF state, all in float64, at several levels."""
    generator = torch.Generator().manual_seed(1)
    prior = tiny_prior(dtype=torch.float64)
    bins = prior.signal.stft.bins

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1

    state = NMFState(random(BATCH, ATOMS, bins), random(BATCH, FRAMES, ATOMS) * request.param)
    z = torch.randn(BATCH, DRAWS, FRAMES, prior.latent_dim, generator=generator, dtype=torch.float64)
    draws = Draws.weighted(z, random(BATCH, DRAWS, FRAMES) * 3, prior.decode(z))
    target = Target(
        prior,
        random(BATCH, FRAMES, bins) * request.param,
        NMF().variance(state),
        random(BATCH, FRAMES) * request.param,
        torch.ones(BATCH, FRAMES, dtype=torch.float64),
    )
    return target, draws, state


def test_nmf_update_matches_the_loop(case):
    target, draws, state = case
    speech = target.speech_variance(draws.log_variance)
    new = NMF(exponent=0.5).update(state, target.power, speech, draws.log_weight, target.mask)
    for b in range(BATCH):
        w, h = loops.nmf_step(
            target.power[b].numpy(), speech[b].numpy(), draws.log_weight[b].exp().numpy(),
            state.w[b].numpy(), state.h[b].numpy(),
        )  # fmt: skip
        scale = w.mean(-1)
        np.testing.assert_allclose(new.w[b].numpy(), w / scale[:, None], rtol=1e-9)
        np.testing.assert_allclose(new.h[b].numpy(), h * scale, rtol=1e-9)


@pytest.fixture
def dictionary(tmp_path):
    """A dictionary of one fixed atom and one free one."""
    path = tmp_path / "noise.safetensors"
    atoms = torch.rand(1, SIGNAL.stft.bins, generator=torch.Generator().manual_seed(5)) + 0.1
    save_dictionary(NoiseDictionary(atoms, SIGNAL.rate, SIGNAL.window, SIGNAL.hop), path)
    return Dictionary(str(path), free=ATOMS - 1)


def test_dictionary_update_matches_the_loop_and_leaves_the_fixed_atoms(case, dictionary):
    target, draws, state = case
    speech = target.speech_variance(draws.log_variance)
    new = dictionary.update(state, target.power, speech, draws.log_weight, target.mask)
    assert torch.equal(new.w[:, :1], state.w[:, :1])
    for b in range(BATCH):
        w, h = loops.nmf_step(
            target.power[b].numpy(), speech[b].numpy(), draws.log_weight[b].exp().numpy(),
            state.w[b].numpy(), state.h[b].numpy(), fixed=1,
        )  # fmt: skip
        scale = w[1:].mean(-1)
        np.testing.assert_allclose(new.w[b, 1:].numpy(), w[1:] / scale[:, None], rtol=1e-9)
        np.testing.assert_allclose(new.h[b, :, 0].numpy(), h[:, 0], rtol=1e-9)
        np.testing.assert_allclose(new.h[b, :, 1:].numpy(), h[:, 1:] * scale, rtol=1e-9)


@pytest.mark.parametrize("free", [0, 1])
def test_dictionary_update_does_not_lower_the_likelihood(case, dictionary, free):
    target, draws, _ = case
    model = dataclasses.replace(dictionary, free=free)
    streams = Streams.from_seed(0, range(BATCH), [FRAMES] * BATCH)
    state = model.init(target.power, target.mask, streams)
    first = state
    speech = target.speech_variance(draws.log_variance)
    values = []
    for _ in range(20):
        noisy = dataclasses.replace(target, noise=model.variance(state))
        values.append(float((draws.log_weight.exp() * noisy.log_likelihood(draws.log_variance)).sum()))
        state = model.update(state, target.power, speech, draws.log_weight, target.mask)
    assert (np.diff(values) >= -1e-9 * abs(values[0])).all()
    assert values[-1] > values[0]
    assert torch.equal(state.w[:, :1], first.w[:, :1])
    assert state.w.shape[1] == 1 + free


def test_nmf_without_speech_is_that_of_scikit_learn(case):
    decomposition = pytest.importorskip("sklearn.decomposition")
    target, draws, state = case
    silent = torch.zeros_like(draws.log_variance)
    new = NMF(exponent=0.5).update(state, target.power, silent, draws.log_weight, target.mask)
    for b in range(BATCH):
        h, w, _ = decomposition.non_negative_factorization(
            target.power[b].numpy(), W=state.h[b].numpy().copy(), H=state.w[b].numpy().copy(), init="custom",
            n_components=ATOMS, solver="mu", beta_loss="itakura-saito", max_iter=1, tol=0,
        )  # fmt: skip
        np.testing.assert_allclose((new.h[b] @ new.w[b]).numpy(), h @ w, rtol=1e-6)


@pytest.mark.parametrize("concentration", [0.0, 5.0])
def test_gain_matches_the_loop(case, concentration):
    target, draws, _ = case
    new = Gain("frame", concentration).update(target, draws.log_variance, draws.log_weight)
    for b in range(BATCH):
        expected = loops.gain_step(
            target.power[b].numpy(), draws.log_variance[b].exp().numpy(), target.noise[b].numpy(),
            draws.log_weight[b].exp().numpy(), target.gain[b].numpy(), concentration,
        )  # fmt: skip
        np.testing.assert_allclose(new[b].numpy(), np.clip(expected, 1e-6, 1e6), rtol=1e-8)


def test_filter_matches_the_loop(case):
    target, draws, _ = case
    moments = filter_moments(target, draws)
    for b in range(BATCH):
        mean, variance = loops.wiener(
            target.power[b].numpy(), target.speech_variance(draws.log_variance)[b].numpy(),
            target.noise[b].numpy(), draws.log_weight[b].exp().numpy(),
        )  # fmt: skip
        np.testing.assert_allclose(moments.mean()[b].numpy(), mean, rtol=1e-10)
        np.testing.assert_allclose(moments.variance(target.power)[b].numpy(), variance, rtol=1e-7, atol=1e-14)


def test_likelihood_and_its_gradient_match_autograd(case):
    target, draws, _ = case
    eta = draws.log_variance.clone().requires_grad_()
    log_total = torch.log(target.gain[:, None, :, None] * eta.exp() + target.noise.unsqueeze(1))
    expected = complex_gaussian_log_prob(target.power.unsqueeze(1), log_total).sum(-1)
    (slope,) = torch.autograd.grad(expected.sum(), eta)
    value, gradient = target.log_likelihood_and_gradient(draws.log_variance.clone())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(gradient, slope, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(target.log_likelihood(draws.log_variance), value)


def test_exponent_one_squares_the_step(case):
    target, draws, state = case
    given = (
        target.power,
        target.speech_variance(draws.log_variance),
        draw_weight(draws.log_weight, target.mask),
    )
    for update, old in ((update_h, state.h), (update_w, state.w)):
        step = update(state, *given) / old
        torch.testing.assert_close(update(state, *given, exponent=1.0), old * step.square())


@pytest.mark.parametrize(("kind", "exponent"), [("frame", 0.5), ("file", 0.5), ("frame", 0.8), ("frame", 1.0)])
def test_each_mstep_does_not_lower_the_likelihood(case, kind, exponent):
    target, draws, state = case

    def expected_log_likelihood(target):
        value = target.log_likelihood(draws.log_variance)
        return float((draws.log_weight.exp() * value).sum())

    if kind == "file":
        target = dataclasses.replace(target, gain=target.gain.mean(1, keepdim=True).expand(-1, FRAMES).clone())
    model, gain = NMF(exponent=exponent), Gain(kind)
    last = expected_log_likelihood(target)
    for _ in range(20):
        new_gain = gain.update(target, draws.log_variance, draws.log_weight)
        target = dataclasses.replace(target, gain=new_gain)
        now = expected_log_likelihood(target)
        assert now >= last - 1e-7 * abs(last)
        speech = target.speech_variance(draws.log_variance)
        state = model.update(state, target.power, speech, draws.log_weight, target.mask)
        target = dataclasses.replace(target, noise=model.variance(state))
        last, before = expected_log_likelihood(target), now
        assert last >= before - 1e-7 * abs(before)
