"""Kernels on a posterior that is known in closed form; broken kernels must fail."""

import dataclasses
import math

import pytest
import torch

from tests.toys import LinearPrior, linear_target
from vae_se.inference.estep import ESTEPS, chain, langevin, mala, vem_full, vem_is, vem_mh
from vae_se.inference.estep.vem_full import FullGaussian, gauss_newton
from vae_se.likelihood import standard_normal_log_prob
from vae_se.rng import Streams

#: Few steps of many chains: a step costs the same for 8 chains and for 32.
STEPS, BURN_IN = 150, 50


def deviations(kernel) -> tuple[float, float]:
    """Largest error of the posterior mean over frames in posterior standard deviations, and largest relative
    error of the variance of z (pooled over frames)."""
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    state = kernel.init(target, target.power, streams)
    mean, covariance = target.posterior()
    first = second = total = 0.0
    for step in range(STEPS):
        state, _ = kernel.step(target, state, streams)
        if step >= BURN_IN:
            draws = state.draws
            weight = draws.log_weight.exp().unsqueeze(-1)
            centred = draws.z - mean.unsqueeze(1)
            first = first + (weight * centred).sum(1)
            second = second + (weight * centred.square()).sum(1)
            total += 1
    std = covariance.diagonal().sqrt()
    bias = (first / total / std).abs().amax().item()
    spread = ((second / total).mean((0, 1)) / covariance.diagonal() - 1).abs().amax().item()
    return bias, spread


EXACT = {
    "mh": {"draws": 32, "sweeps": 4, "step_size": 0.8, "adaptation": 40},
    "encoder-mh": {"draws": 32, "sweeps": 4},
    "mala": {"draws": 32, "sweeps": 3, "step_size": 0.8, "adaptation": 40},
    "mala-preconditioned": {"draws": 32, "sweeps": 3, "adaptation": 40, "precondition": True},
    "vem-mh": {"draws": 32, "sweeps": 4, "adaptation": 40, "warmup": 4},
    # Self-normalised weights have a bias of order 1 / R.
    "encoder-is": {"draws": 200},
}
BAND = (0.2, 0.06)


def kernel(name, **changes):
    """One of the kernels of EXACT."""
    return ESTEPS[name.removesuffix("-preconditioned")](**EXACT[name] | changes)


# Without acceptance the variance is too large by 1 / (1 - step^2 curvature / 4), here by up to 2 %.
LANGEVIN = {"draws": 32, "sweeps": 10, "step_size": 0.15}
LANGEVIN_BAND = (0.25, 0.1)


def evidence(target) -> float:
    """The mean over frames of log p(y) of the linear-Gaussian target."""
    a = target.prior.matrix
    covariance = a @ a.T + target.std**2 * torch.eye(5, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance)
    # The toy's likelihood leaves out its normalisation.
    constant = 2.5 * math.log(2 * math.pi * target.std**2)
    return (normal.log_prob(target.power[0]) + constant).mean().item()


def map_error() -> float:
    """Largest distance of the point estimate from the posterior mean, in posterior standard deviations."""
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS["map"](steps=10, learning_rate=0.05)
    state = kernel.init(target, target.power, streams)
    for _ in range(60):
        state, _ = kernel.step(target, state, streams)
    mean, covariance = target.posterior()
    return ((state.draws.z[:, 0] - mean) / covariance.diagonal().sqrt()).abs().max().item()


@pytest.mark.parametrize("name", EXACT)
def test_kernel_has_the_known_moments(name):
    bias, spread = deviations(kernel(name))
    assert bias < BAND[0]
    assert spread < BAND[1]


def wrong_gaussian(target, mean):
    """The Gaussian, shifted and 1.5 times too wide; with the exact one every proposal would be accepted."""
    right = gauss_newton(target, target.posterior()[0])
    return FullGaussian(right.mean + 0.5 * right.root.sum(-1), 1.5 * right.root)


@pytest.mark.parametrize("changes", [{}, {"step_size": 0.6, "adaptation": 0}], ids=["adapted", "small steps"])
def test_vem_mh_corrects_a_wrong_gaussian(monkeypatch, changes):
    monkeypatch.setattr(vem_mh, "gauss_newton", wrong_gaussian)
    bias, spread = deviations(kernel("vem-mh", **changes))
    assert bias < BAND[0]
    assert spread < BAND[1]


def test_vem_is_corrects_a_wrong_gaussian(monkeypatch):
    monkeypatch.setattr(vem_full, "gauss_newton", wrong_gaussian)
    bias, spread = deviations(ESTEPS["vem-is"](draws=200))
    assert bias < BAND[0]
    assert spread < BAND[1]


@pytest.mark.slow
def test_mutation_vem_is_without_the_proposal_s_density(monkeypatch):
    monkeypatch.setattr(vem_full, "gauss_newton", wrong_gaussian)
    monkeypatch.setattr(vem_is, "log_weights", lambda q, point: torch.zeros_like(point.value))
    assert deviations(ESTEPS["vem-is"](draws=200))[1] > BAND[1]


def test_weights_of_the_exact_posterior_are_the_evidence():
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(3)], [target.power.shape[1]])
    kernel = ESTEPS["vem-is"](draws=4, learning_rate=1.0)
    state = kernel.init(target, target.power, streams)
    for _ in range(4):
        state, info = kernel.step(target, state, streams)
    assert info.objective.item() == pytest.approx(evidence(target), abs=1e-6)
    assert info.ess.item() == pytest.approx(4, abs=1e-6)


def test_unadjusted_langevin_is_near_the_known_moments():
    bias, spread = deviations(ESTEPS["langevin"](**LANGEVIN))
    assert bias < LANGEVIN_BAND[0]
    assert spread < LANGEVIN_BAND[1]


def test_preconditioned_langevin_is_near_the_known_moments():
    """The step is a fraction of the posterior's deviation in every direction: the variance is 2 % too large."""
    bias, spread = deviations(ESTEPS["langevin"](draws=32, sweeps=10, step_size=0.3, precondition=True))
    assert bias < LANGEVIN_BAND[0]
    assert spread < LANGEVIN_BAND[1]


def test_total_variation_slope_is_the_derivative():
    z = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[0, 0, 3] = z[0, 0, 2]
    z.requires_grad_()
    mask = torch.ones(2, 6, dtype=torch.float64)
    mask[1, 4:] = 0
    penalty = sum(
        (z[b, :, n] - z[b, :, n - 1]).square().sum(-1).add(0.04).sqrt().sum()
        for b, frames in ((0, 6), (1, 4))
        for n in range(1, frames)
    )
    (slope,) = torch.autograd.grad(penalty, z)
    torch.testing.assert_close(langevin.total_variation_slope(z.detach(), mask), slope)


def test_total_variation_draws_neighbours_together():
    def roughness(weight):
        target = linear_target(frames=200)
        streams = Streams([torch.Generator().manual_seed(5)], [200])
        kernel = ESTEPS["langevin"](draws=4, sweeps=5, step_size=0.1, total_variation=weight)
        state, total = kernel.init(target, target.power, streams), 0.0
        for step in range(50):
            state, _ = kernel.step(target, state, streams)
            total += state.draws.z.diff(dim=2).norm(dim=-1).mean().item() if step >= 30 else 0
        return total / 20

    assert roughness(3.0) < 0.8 * roughness(0.0)


def test_point_estimate_is_the_posterior_mean():
    assert map_error() < 0.03


@pytest.mark.parametrize("latents", [1, 16])
def test_drift_is_bounded_frame_by_frame(latents):
    step = torch.tensor([[0.1, 0.2]], dtype=torch.float64)[:, None, :, None]
    gradient = torch.randn(1, 3, 2, latents, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # With a step that suits the curvature, the drift stays below the limit.
    torch.testing.assert_close(langevin.drift(gradient, step), 0.5 * step.square() * gradient)
    wild = gradient.clone()
    wild[:, :, 0] *= 1e12
    tamed = langevin.drift(wild, step)
    torch.testing.assert_close(tamed[:, :, 0].norm(dim=-1), torch.full((1, 3), 0.1 * latents**0.5).double())
    torch.testing.assert_close(tamed[:, :, 1], langevin.drift(gradient, step)[:, :, 1])


def test_variational_kernel_finds_the_best_factorised_gaussian():
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS["vem"](draws=8, learning_rate=0.05)
    state = kernel.init(target, target.power, streams)
    for _ in range(300):
        state, _ = kernel.step(target, state, streams)
    averaged = torch.zeros_like(state.parameters)
    for _ in range(300):
        state, _ = kernel.step(target, state, streams)
        averaged += state.parameters / 300
    mean, covariance = target.posterior()
    # The mean is exact; the variance is that of z given the other latents (Bishop 2006, sec. 10.1.2).
    factorised = 1 / torch.linalg.inv(covariance).diagonal()
    assert ((averaged[0] - mean) / covariance.diagonal().sqrt()).abs().max() < 0.1
    assert (averaged[1].exp() / factorised - 1).abs().mean() < 0.05


def full_variational_error() -> tuple[float, float]:
    """Largest error of q's mean in posterior standard deviations, and of its covariance."""
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS["vem-full"](learning_rate=0.5)
    state = kernel.init(target, target.power, streams)
    for _ in range(40):
        state, _ = kernel.step(target, state, streams)
    mean, covariance = target.posterior()
    found = state.q.root @ state.q.root.transpose(-1, -2)
    off = (state.q.mean - mean) / covariance.diagonal().sqrt()
    return off.abs().max().item(), (found - covariance).abs().max().item()


def test_full_variational_kernel_is_exact_where_the_posterior_is_gaussian():
    """For a Gaussian, mirrored pairs of draws give the gradient without noise."""
    mean, covariance = full_variational_error()
    assert mean < 1e-6
    assert covariance < 1e-9


def test_full_variational_bound_is_the_evidence():
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS["vem-full"](draws=2000, learning_rate=1.0)
    state = kernel.init(target, target.power, streams)
    for _ in range(3):
        state, info = kernel.step(target, state, streams)
    assert info.objective.item() == pytest.approx(evidence(target), abs=0.02)


@pytest.mark.parametrize("name", ["vem", "vem-full"])
def test_the_variational_bound_is_the_evidence_less_the_divergence_from_the_posterior(name):
    """Of the first step, whose q is that of the start."""
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(5)], [target.power.shape[1]])
    kernel = ESTEPS[name](draws=4000)
    state = kernel.init(target, target.power, streams)
    if name == "vem":
        mean, root = state.parameters[0], torch.diag_embed((0.5 * state.parameters[1]).exp())
    else:
        mean, root = state.q.mean, state.q.root
    _, info = kernel.step(target, state, streams)
    normal = torch.distributions.MultivariateNormal
    q, (exact, covariance) = normal(mean, root @ root.mT), target.posterior()
    divergence = torch.distributions.kl_divergence(q, normal(exact, covariance)).mean().item()
    assert info.objective.item() == pytest.approx(evidence(target) - divergence, abs=0.05)


def test_whitening_inverts_spreading():
    target = linear_target()
    q = gauss_newton(target, target.posterior()[0])
    epsilon = torch.randn(1, 3, 40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(q.whiten(q.mean.unsqueeze(1) + q.spread(epsilon)), epsilon)


@pytest.mark.slow
def test_mutation_full_variational_without_the_prior(monkeypatch):
    monkeypatch.setattr(LinearPrior, "log_prior", lambda self, z: 2 * standard_normal_log_prob(z))
    assert full_variational_error()[0] > 0.03


@pytest.mark.slow
def test_mutation_prior_without_its_half(monkeypatch):
    monkeypatch.setattr(LinearPrior, "log_prior", lambda self, z: 2 * standard_normal_log_prob(z))
    for name in EXACT:
        bias, spread = deviations(kernel(name))
        assert bias > BAND[0] or spread > BAND[1], name
    assert deviations(ESTEPS["langevin"](**LANGEVIN))[1] > LANGEVIN_BAND[1]
    assert map_error() > 0.03


@pytest.mark.slow
def test_mutation_no_acceptance(monkeypatch):
    def always(target, current, proposed, log_ratio, streams):
        return proposed, torch.ones_like(log_ratio, dtype=torch.bool)

    monkeypatch.setattr(vem_mh, "gauss_newton", wrong_gaussian)
    files = {"mh": "mh", "encoder-mh": "encoder_mh", "mala": "mala", "vem-mh": "vem_mh"}
    files["mala-preconditioned"] = "mala"
    for name, file in files.items():
        module = __import__(f"vae_se.inference.estep.{file}", fromlist=["accept"])
        monkeypatch.setattr(module, "accept", always)
        # With every proposal accepted, adaptation would increase the step size without limit.
        changes = {} if name == "encoder-mh" else {"adaptation": 0}
        # A step of one standard deviation of the posterior, which is wrong without acceptance.
        changes |= {"step_size": 1.0} if name == "mala-preconditioned" else {}
        assert deviations(kernel(name, **changes))[1] > BAND[1], name


@pytest.mark.slow
def test_mutation_without_the_density_of_the_proposal(monkeypatch):
    from vae_se.priors import GaussianPosterior

    monkeypatch.setattr(GaussianPosterior, "log_prob", lambda self, z: torch.zeros(z.shape[:3], dtype=z.dtype))
    assert deviations(ESTEPS["encoder-mh"](**EXACT["encoder-mh"]))[1] > BAND[1]


@pytest.mark.slow
def test_mutation_step_not_matched_by_the_pull(monkeypatch):
    """z' = z + b S^(1/2) epsilon without sqrt(1 - b^2) is not reversible with respect to q."""
    monkeypatch.setattr(vem_mh, "gauss_newton", wrong_gaussian)
    monkeypatch.setattr(vem_mh, "pull", torch.ones_like)
    assert deviations(ESTEPS["vem-mh"](**EXACT["vem-mh"]))[1] > BAND[1]


@pytest.mark.slow
def test_mutation_langevin_proposal_treated_as_symmetric(monkeypatch):
    monkeypatch.setattr(mala, "log_proposal", lambda to, *_: torch.zeros(to.shape[:3]).to(to))
    for name in ("mala", "mala-preconditioned"):
        assert deviations(kernel(name))[1] > BAND[1]


@pytest.mark.slow
def test_mutation_variance_used_as_step(monkeypatch):
    normal, step = Streams.normal, LANGEVIN["step_size"]
    monkeypatch.setattr(Streams, "normal", lambda self, *args, **kw: step * normal(self, *args, **kw))
    assert deviations(ESTEPS["langevin"](**LANGEVIN))[1] > LANGEVIN_BAND[1]


def test_step_size_is_a_standard_deviation():
    """The first proposals of the random walk have this standard deviation."""
    target = linear_target(frames=2000)
    streams = Streams([torch.Generator().manual_seed(1)], [2000])
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy(LinearPrior):
        def __init__(self, inner):
            object.__setattr__(self, "inner", inner)

        def __getattr__(self, name):
            return getattr(object.__getattribute__(self, "inner"), name)

        def generate(self, z, mask=None):
            seen.append(z)
            return self.inner.generate(z)

    spied = dataclasses.replace(target, prior=Spy(target.prior))
    kernel = ESTEPS["mh"](draws=2, sweeps=1, step_size=0.3, adaptation=0)
    kernel.step(spied, kernel.init(spied, target.power, streams), streams)
    assert (seen[1] - seen[0]).std().item() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("name", ["mh", "mala"])
def test_adaptation_reaches_the_target_and_stops(name):
    target = linear_target()
    streams = Streams([torch.Generator().manual_seed(2)], [target.power.shape[1]])
    kernel = ESTEPS[name](draws=8, sweeps=5, step_size=0.01, target_acceptance=0.4, adaptation=80)
    state = kernel.init(target, target.power, streams)
    rates = []
    for step in range(160):
        state, info = kernel.step(target, state, streams)
        if step == 80:
            frozen = state.size.log_size.clone()
        if step > 80:
            rates.append(info.acceptance.item())
    assert sum(rates) / len(rates) == pytest.approx(0.4, abs=0.08)
    assert torch.equal(state.size.log_size, frozen)


def test_importance_bound_is_below_and_near_the_evidence():
    target = linear_target()
    bounds = {}
    for draws in (4, 500):
        kernel = ESTEPS["encoder-is"](draws=draws)
        streams = Streams([torch.Generator().manual_seed(3)], [target.power.shape[1]])
        state = kernel.init(target, target.power, streams)
        values = []
        for _ in range(100):
            state, info = kernel.step(target, state, streams)
            values.append(info.objective.item())
        bounds[draws] = sum(values) / len(values)
    known = evidence(target)
    assert bounds[4] < bounds[500] < known + 0.005
    assert bounds[500] == pytest.approx(known, abs=0.02)


def test_accept_takes_better_proposals_and_rejects_impossible_ones():
    streams = Streams([torch.Generator().manual_seed(0)], [100])
    shapes = (1, 2, 100, 3), (1, 2, 100, 4), (1, 2, 100), (1, 2, 100)
    old, new = (chain.Chains(*(torch.full(shape, value) for shape in shapes)) for value in (0.0, 1.0))
    ratio = torch.full((1, 2, 100), 50.0)
    ratio[:, 1] = -math.inf
    chains, taken = chain.accept(linear_target(), old, new, ratio, streams)
    assert taken[:, 0].all()
    assert not taken[:, 1].any()
    assert (chains.z[:, 0] == 1).all()
    assert (chains.log_variance[:, 1] == 0).all()
