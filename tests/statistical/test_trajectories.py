"""Kernels on a prior that ties the frames together: a state-space model with a known smoother."""

import dataclasses

import pytest
import torch

from tests.toys import ChainPrior, KnownChainPrior, chain_target
from vae_se.inference.estep import ESTEPS, chain, hamiltonian, vem_mh
from vae_se.inference.estep.vem_full import FullGaussian, gauss_newton
from vae_se.rng import Streams

FRAMES, STEPS, WARM = 6, 1500, 200
KERNELS = {
    "mh": {"draws": 8, "sweeps": 4, "step_size": 0.2, "adaptation": 100},
    "mala": {"draws": 8, "sweeps": 2, "step_size": 0.2, "adaptation": 100},
    "langevin": {"draws": 8, "sweeps": 4, "step_size": 0.1},
    "vem-mh": {"draws": 16, "sweeps": 2, "step_size": 0.7, "adaptation": 1, "warmup": 1},
}
#: The paths of vem-mh have ends that hardly depend on their starts, so that fewer suffice.
LENGTHS = {"vem-mh": 500}


def moments(name, **changes):
    """Mean (N, L) and covariance (NL, NL) of the draws of a long run, and the exact ones."""
    target, mean, covariance = chain_target(FRAMES)
    kernel = ESTEPS[name](**(KERNELS[name] | changes))
    if kernel.by_frame:
        target = dataclasses.replace(target, prior=KnownChainPrior(target.prior.matrix))
    streams = Streams([torch.Generator().manual_seed(1)], [FRAMES])
    state = kernel.init(target, target.power, streams)
    drawn = []
    for step in range(LENGTHS.get(name, STEPS)):
        state, _ = kernel.step(target, state, streams)
        if step >= WARM:
            drawn.append(state.draws.z[0].flatten(1))
    z = torch.cat(drawn)
    return z.mean(0).view(FRAMES, -1), torch.cov(z.T), mean, covariance


def right(found):
    """Means within a fifth of a standard deviation, covariances within a fifth of the largest."""
    mean, covariance, known_mean, known_covariance = found
    std = known_covariance.diagonal().sqrt().view_as(known_mean)
    off = ((mean - known_mean) / std).abs().max()
    return bool(off < 0.2 and (covariance - known_covariance).abs().max() < 0.2 * known_covariance.max())


@pytest.mark.parametrize(
    "name", ["mh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mala", "langevin"))]
)
def test_draws_have_the_smoother_s_moments(name):
    assert right(moments(name))


@pytest.fixture
def wrong_gaussian(monkeypatch):
    """vem-mh has a Gaussian that is shifted and 1.4 times too wide; with the exact one it would accept all."""

    def of(target, mean, streams):
        right = gauss_newton(target, mean)
        return FullGaussian(right.mean + 0.3 * right.root.sum(-1), 1.4 * right.root)

    monkeypatch.setattr(vem_mh, "gaussian", of)


def test_paths_of_trajectories_correct_a_wrong_gaussian(wrong_gaussian):
    assert right(moments("vem-mh"))


def always(target, current, proposed, log_ratio, streams):
    """Acceptance of every proposal."""
    return proposed, torch.ones_like(log_ratio, dtype=torch.bool)


def without_velocities(*args):
    """A path whose log-ratio leaves out the kinetic energy."""
    end, _ = hamiltonian.path(*args)
    return end, end.value - args[2].value


@pytest.mark.slow
@pytest.mark.parametrize(("part", "wrong"), [("accept", always), ("path", without_velocities)])
def test_mutation_of_the_acceptance_of_paths(wrong_gaussian, monkeypatch, part, wrong):
    monkeypatch.setattr(vem_mh, part, wrong)
    assert not right(moments("vem-mh"))


def test_frames_do_depend_on_each_other():
    _, _, covariance = chain_target(FRAMES)
    assert covariance[0, 2].abs() > 0.2 * covariance[0, 0]  # else the tests here would prove nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mh", "mala", "vem-mh"])
def test_mutation_a_decision_per_frame(name, monkeypatch, wrong_gaussian):
    """Acceptance frame by frame, as if frames were independent, is wrong, and the test notices."""

    def separately(target, current, proposed, log_ratio, streams):
        uniform = streams.uniform(log_ratio.shape[1], dtype=log_ratio.dtype).transpose(1, 2)
        taken = torch.log(uniform) < log_ratio
        kept = {
            key: torch.where(taken if new.ndim == 3 else taken.unsqueeze(-1), new, getattr(current, key))
            for key, new in vars(proposed).items()
        }
        return type(current)(**kept), taken

    module = __import__(f"vae_se.inference.estep.{name.replace('-', '_')}", fromlist=["accept"])
    monkeypatch.setattr(module, "accept", separately)
    assert not right(moments(name))


@pytest.mark.slow
def test_mutation_the_prior_without_memory(monkeypatch):
    monkeypatch.setattr(ChainPrior, "log_prior", ChainPrior.__base__.log_prior)
    assert not right(moments("mala"))


def test_one_decision_for_a_trajectory():
    target, _, _ = chain_target(FRAMES)
    streams = Streams([torch.Generator().manual_seed(0)], [FRAMES])
    shapes = (1, 50, FRAMES, 2), (1, 50, FRAMES, 5), (1, 50, FRAMES), (1, 50, FRAMES)
    old, new = (chain.Chains(*(torch.full(s, v, dtype=torch.float64) for s in shapes)) for v in (0.0, 1.0))
    ratio = torch.zeros(shapes[-1], dtype=torch.float64)
    ratio[..., 0], ratio[..., 1] = -3.0, 2.3  # exp(-0.7) = one half
    _, taken = chain.accept(target, old, new, ratio, streams)
    assert (taken == taken[..., :1]).all()
    assert 0.3 < taken[..., 0].double().mean() < 0.7


def run_to_the_end(name, steps, prior=None, **settings):
    target, mean, covariance = chain_target(FRAMES)
    target = dataclasses.replace(target, prior=prior(target.prior.matrix)) if prior else target
    kernel = ESTEPS[name](**settings)
    streams = Streams([torch.Generator().manual_seed(2)], [FRAMES])
    state = kernel.init(target, target.power, streams)
    found, objective = [], []
    for step in range(steps):
        state, info = kernel.step(target, state, streams)
        if step >= steps // 2:
            found.append(state.adam.parameters)
            objective.append(info.objective.item())
    return torch.stack(found).mean(0), sum(objective) / len(objective), target, mean, covariance


def test_map_is_the_smoother_s_mean():
    z, _, _, mean, _ = run_to_the_end("map", 400)
    torch.testing.assert_close(z[0, 0], mean, atol=0.02, rtol=0)


def test_variational_mean_field():
    """The best product of Gaussians has the smoother's mean and the inverse of its precision's diagonal."""
    parameters, bound, target, mean, covariance = run_to_the_end("vem", 1500, draws=8, learning_rate=0.02)
    assert ((parameters[0, 0] - mean).abs() < 0.05).all()
    variance = 1 / torch.linalg.inv(covariance).diagonal().view_as(mean)
    assert (parameters[1, 0].exp() / variance - 1).abs().max() < 0.1
    # Its bound lies below log p(y), here of a Gaussian, by the divergence of that product from the smoother.
    a, frames = target.prior.matrix, torch.arange(FRAMES, dtype=torch.float64)
    correlation = target.prior.rate ** (frames[:, None] - frames[None]).abs()
    data = torch.kron(correlation, a @ a.T) + target.std**2 * torch.eye(FRAMES * len(a), dtype=a.dtype)
    normal = torch.distributions.MultivariateNormal(torch.zeros(len(data), dtype=a.dtype), data)
    # The toy's log-likelihood leaves out the normalisation of e.
    constant = 0.5 * len(data) * torch.log(torch.tensor(2 * torch.pi * target.std**2))
    evidence = normal.log_prob(target.power[0].flatten()) + constant
    precision = torch.linalg.inv(covariance)
    divergence = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert bound * FRAMES == pytest.approx((evidence - divergence).item(), abs=0.1)


def test_variational_with_earlier_latents_at_their_means():
    """The mean is the smoother's as well. A frame's variance is that given the frame before it and its data;
    the later frames do not count."""
    settings = {"draws": 8, "learning_rate": 0.02, "prior": KnownChainPrior}
    parameters, _, target, mean, _ = run_to_the_end("vem", 1500, **settings)
    assert ((parameters[0, 0] - mean).abs() < 0.05).all()
    a, rate = target.prior.matrix, target.prior.rate
    own = torch.full((FRAMES, 1), 1 / (1 - rate**2), dtype=a.dtype)
    own[0] = 1
    variance = 1 / (own + (a.T @ a).diagonal() / target.std**2)
    assert (parameters[1, 0].exp() / variance - 1).abs().max() < 0.1


def test_full_covariance_of_a_frame_given_the_one_before():
    """The mean is the smoother's, the precision the sum of those of p(z_n | z_{n-1}) and of the data."""
    target, mean, _ = chain_target(FRAMES)
    target = dataclasses.replace(target, prior=KnownChainPrior(target.prior.matrix))
    kernel = ESTEPS["vem-full"](draws=2)
    streams = Streams([torch.Generator().manual_seed(2)], [FRAMES])
    state = kernel.init(target, target.power, streams)
    for _ in range(200):
        state, info = kernel.step(target, state, streams)
    torch.testing.assert_close(state.q.mean[0], mean, atol=0.02, rtol=0)
    a, rate = target.prior.matrix, target.prior.rate
    precision = torch.linalg.inv(state.q.root[0, 1] @ state.q.root[0, 1].T)
    own = torch.eye(len(precision), dtype=a.dtype) / (1 - rate**2)
    torch.testing.assert_close(precision, own + a.T @ a / target.std**2, atol=1e-3, rtol=1e-3)
    assert torch.isfinite(info.objective)
