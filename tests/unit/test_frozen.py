"""Chains stop adapting where averaging begins, whatever the numbers of iterations and of adapting E-steps."""

import dataclasses
import itertools

import pytest
import torch

from tests.toys import model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.inference.averaging import averaged_filter
from vae_se.inference.em import step
from vae_se.inference.estep import ESTEPS
from vae_se.rng import Streams

#: What each kernel adapts.
PROPOSALS = {
    "mh": lambda state: [state.size.log_size],
    "mala": lambda state: [state.size.log_size, state.root],
    "vem-mh": lambda state: [state.size.log_size, state.fit.q.mean, state.fit.q.root],
    "encoder-mh": lambda state: [
        state.proposal.learnt.mean,
        state.proposal.learnt.log_variance,
        state.proposal.encoder.mean,
    ],
}
SETTINGS = {"mala": {"estep.precondition": True}, "vem-mh": {"estep.warmup": 2}}


@pytest.fixture(params=list(PROPOSALS))
def name(request):
    return request.param


def run(monkeypatch, name, **overrides):
    """States of the kernel before averaging and after each averaged E-step, and the result of the run."""
    settings = {"estep.name": name, "estep.adaptation": 1000, "inference.averaging": 4} | SETTINGS.get(name, {})
    em = build_em(Config().override(settings | {"inference.iterations": 5} | overrides), tiny_prior())
    power, mask = model_power(em.prior, 1, 12), torch.ones(1, 12)
    streams = Streams.from_seed(0, ["a"], [12])
    state = em.start(power, mask, streams)
    for _ in range(em.iterations):
        state, _ = step(em, power, mask, state, streams)
    kernel, seen = ESTEPS[name], [state.estep]
    original = kernel.step

    def spied(self, target, before, streams):
        after, info = original(self, target, before, streams)
        seen.append(after)
        return after, info

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "step", spied)
        found = averaged_filter(em, power, mask, state, streams, em.averaging)
    return em, seen, found


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_adaptation_ends_where_averaging_begins(monkeypatch, name):
    _, seen, _ = run(monkeypatch, name)
    before, *averaged = map(PROPOSALS[name], seen)
    assert len(averaged) == 4
    if name == "encoder-mh":
        assert all(equal(before, now) for now in averaged)
    else:  # the size, which the chain had when averaging began
        assert all(torch.equal(before[0], now[0]) for now in averaged)
    assert all(equal(averaged[0], now) for now in averaged)


def test_the_chains_move_while_the_proposal_is_frozen(monkeypatch, name):
    _, seen, found = run(monkeypatch, name)
    draws = [state.draws.z for state in seen[1:]]
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(draws))
    assert found.rhat is not None


def test_em_that_resumes_goes_on_adapting(monkeypatch, name):
    """The result holds the state from before averaging, whose chains still adapt."""
    em, seen, found = run(monkeypatch, name)
    assert found.state.estep is seen[0]
    power, mask = model_power(em.prior, 1, 12), torch.ones(1, 12)
    resumed, _ = step(em, power, mask, found.state, Streams.from_seed(1, ["a"], [12]))
    assert not equal(PROPOSALS[name](seen[0])[:1], PROPOSALS[name](resumed.estep)[:1])


@pytest.mark.parametrize("iterations", [0, 1])
def test_the_warm_up_of_vem_mh_ends_where_averaging_begins(monkeypatch, iterations):
    _, seen, found = run(
        monkeypatch,
        "vem-mh",
        **{"inference.iterations": iterations, "estep.warmup": 40, "estep.adaptation": 20},
    )
    assert seen[0].chains is None
    assert all(state.chains is not None for state in seen[1:])
    assert all(equal(PROPOSALS["vem-mh"](seen[1]), PROPOSALS["vem-mh"](state)) for state in seen[1:])
    assert found.rhat is not None


def test_kernels_without_adapting_chains_are_not_changed():
    prior = tiny_prior()
    for name in sorted(set(ESTEPS) - set(PROPOSALS)):
        em = build_em(Config().override({"estep.name": name}), prior)
        state = em.start(model_power(prior, 1, 6), torch.ones(1, 6), Streams.from_seed(0, ["a"], [6]))
        assert em.estep.frozen(state.estep) is state.estep, name


def test_frozen_chains_are_averaged_however_short():
    """Ten E-steps of warm-up and ten of chains, which is less than the adaptation takes."""
    config = Config().override(
        {"estep.name": "vem-mh", "estep.warmup": 10, "inference.iterations": 20, "inference.averaging": 10}
    )
    em = build_em(config, tiny_prior())
    state = em.start(
        torch.rand(1, 6, em.prior.signal.stft.bins), torch.ones(1, 6), Streams.from_seed(0, ["a"], [6])
    )
    done = dataclasses.replace(state.estep.size, steps=em.iterations - em.estep.warmup)
    assert done.adapting
    assert not em.estep.frozen(dataclasses.replace(state.estep, size=done)).size.adapting
