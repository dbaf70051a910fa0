"""Contracts of every E-step and every noise model in EM."""

import pytest
import torch

from tests.toys import SIGNAL, model_power, tiny_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.inference.em import step
from vae_se.inference.estep import ESTEPS
from vae_se.noise import NOISES
from vae_se.noise.store import NoiseDictionary, save_dictionary
from vae_se.rng import Streams

SETTINGS = {"inference.iterations": 4, "inference.averaging": 2}
NMF = {"noise.name": "nmf", "noise.rank": 3}
#: Kernels that run with every noise model: draws of equal weight, weighted draws, and chains. The noise meets
#: an E-step only in its draws and their weights, so the other kernels run with nmf, and with the rest among the
#: slow tests.
WITH_ALL_NOISES = ("vem", "vem-is", "mala")

each_pair = pytest.mark.parametrize(
    ("estep", "noise"),
    [
        pytest.param(
            kernel, name, marks=[] if name == "nmf" or kernel in WITH_ALL_NOISES else pytest.mark.slow,
            id=f"{kernel}-{name}",
        )
        for kernel in ESTEPS
        for name in NOISES
    ],
    indirect=["noise"],
)  # fmt: skip


def loop(estep="vem", noise=None, prior=None, **overrides):
    # A short warmup, so that the chains run as well.
    warm = {"estep.warmup": 2} if estep == "vem-mh" else {}
    config = Config().override({"estep.name": estep, **warm, **(noise or NMF), **SETTINGS, **overrides})
    return build_em(config, prior or tiny_prior())


def streams_for(lengths, seed=0):
    return Streams.from_seed(seed, [f"utterance {i}" for i in range(len(lengths))], lengths)


def run(em, power, lengths=None, **options):
    lengths = lengths or [power.shape[1]] * power.shape[0]
    mask = (torch.arange(power.shape[1]) < torch.tensor(lengths).unsqueeze(1)).to(power.dtype)
    streams = options.pop("streams", None) or streams_for(lengths)
    return em.run(power, mask, streams, **options)


@pytest.fixture(params=list(ESTEPS))
def estep(request):
    return request.param


@pytest.fixture(params=list(NOISES))
def noise(request, tmp_path):
    """The settings of every noise model; the dictionary has two atoms in a file and a free one."""
    if request.param == "nmf":
        return NMF
    settings = {"noise.name": request.param}
    if request.param == "dictionary":
        path = tmp_path / "noise.safetensors"
        atoms = torch.rand(2, SIGNAL.stft.bins, generator=torch.Generator().manual_seed(1)) + 0.1
        save_dictionary(NoiseDictionary(atoms, SIGNAL.rate, SIGNAL.window, SIGNAL.hop), path)
        settings |= {"noise.file": str(path), "noise.free": 1}
    return settings


@each_pair
def test_shapes_ranges_and_diagnostics(estep, noise):
    prior = tiny_prior()
    power = model_power(prior, 2, 12)
    found = run(loop(estep, noise), power)
    assert found.wiener.shape == found.variance.shape == found.noise.shape == power.shape
    assert ((found.wiener >= 0) & (found.wiener <= 1 + 1e-6)).all()
    assert (found.variance >= 0).all()
    assert len(found.state.trace) == found.state.iteration == 4
    for info in found.state.trace:
        assert info.objective.shape == info.ess.shape == (2,)
        assert torch.isfinite(info.objective).all()
        assert (info.ess >= 1 - 1e-4).all()
        assert (info.ess <= found.state.estep.draws.z.shape[1] + 1e-3).all()
        if info.acceptance is not None:
            assert ((info.acceptance >= 0) & (info.acceptance <= 1)).all()
    total = found.state.estep.draws.log_weight.exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_same_seed_same_result_other_seed_other_result(estep):
    power = model_power(tiny_prior(), 1, 10)
    first, second = (run(loop(estep), power).wiener for _ in range(2))
    other = run(loop(estep), power, streams=streams_for([10], seed=1)).wiener
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_global_generator_is_left_alone(estep):
    power = model_power(tiny_prior(), 1, 5)
    before = torch.get_rng_state()
    run(loop(estep), power)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mala", {"estep.precondition": True}),
        ("langevin", {"estep.precondition": True, "estep.total_variation": 1.0}),
        ("encoder-is", {"gain.kind": "file"}),
    ],
)
def test_options_keep_a_ragged_batch_one_by_one(name, options):
    check_ragged_batch(name, NMF, **options)


def test_several_starts_keep_a_ragged_batch_one_by_one(noise):
    check_ragged_batch("vem", noise, **{"inference.starts": 3})


@each_pair
def test_ragged_batch_equals_one_by_one(estep, noise):
    check_ragged_batch(estep, noise)


def check_ragged_batch(estep, noise, **options):
    prior = tiny_prior(dtype=torch.float64)
    lengths = [12, 5, 1]
    power = model_power(prior, 3, 12)
    for row, n in enumerate(lengths):
        power[row, n:] = 0
    together = run(loop(estep, noise, prior, **options), power, lengths)
    for row, n in enumerate(lengths):
        mine = Streams.from_seed(0, [f"utterance {row}"], [n])
        alone = run(loop(estep, noise, prior, **options), power[row : row + 1, :n], [n], streams=mine)
        torch.testing.assert_close(together.wiener[row, :n], alone.wiener[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(together.noise[row, :n], alone.noise[0], rtol=1e-6, atol=1e-12)
        for a, b in zip(together.state.trace, alone.state.trace, strict=True):
            torch.testing.assert_close(a.objective[row], b.objective[0], rtol=1e-6, atol=1e-9)


def test_resume_equals_an_unbroken_run(estep):
    power = model_power(tiny_prior(), 2, 8)
    lengths = [8, 8]
    whole = run(loop(estep), power)
    streams = streams_for(lengths)
    em = loop(estep, **{"inference.iterations": 2})
    mask = torch.ones(2, 8)
    state = em.start(power, mask, streams)
    for _ in range(2):
        state, _ = step(em, power, mask, state, streams)
    saved = streams.state()
    fresh = streams_for(lengths)
    fresh.restore(saved)
    resumed = run(loop(estep), power, streams=fresh, state=state)
    assert torch.equal(resumed.wiener, whole.wiener)


@each_pair
def test_silence_inside_leaves_the_rest_finite(estep, noise):
    power = model_power(tiny_prior(), 1, 20)
    power[:, 5:12] = 0
    found = run(loop(estep, noise), power)
    assert torch.isfinite(found.wiener).all()
    assert torch.isfinite(found.noise).all()
    for info in found.state.trace:
        assert torch.isfinite(info.objective).all()


@each_pair
def test_extreme_levels_stay_finite(estep, noise):
    scale = torch.tensor([1e-8, 1e-4, 1e4, 1e8])[:, None, None]
    found = run(loop(estep, noise), model_power(tiny_prior(), 4, 6) * scale)
    assert torch.isfinite(found.wiener).all()
    assert torch.isfinite(found.variance).all()


@each_pair
def test_all_silent_and_one_frame(estep, noise):
    bins = tiny_prior().signal.stft.bins
    for power in (torch.zeros(1, 4, bins), model_power(tiny_prior(), 1, 1)):
        assert torch.isfinite(run(loop(estep, noise), power).wiener).all()


def test_objective_rises_on_average(estep):
    prior = tiny_prior()
    power = model_power(prior, 3, 60, noise=0.5)
    em = loop(estep, prior=prior, **{"inference.iterations": 40})
    trace = torch.stack([info.objective.mean() for info in run(em, power).state.trace])
    assert trace[-10:].mean() > trace[:5].mean()
    assert trace[-10:].mean() > trace[10:20].mean() - 0.5


def test_prior_is_left_as_it_was(estep):
    prior = tiny_prior()
    before = {name: t.clone() for name, t in prior.state_dict().items()}
    run(loop(estep, prior=prior), model_power(prior, 1, 8))
    assert all(torch.equal(before[name], t) for name, t in prior.state_dict().items())
    assert not any(p.requires_grad for p in prior.parameters())
