"""The autoencoder's Gaussian over codes, and the squared error's place on the likelihood's scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch

from tests.toys import SIGNAL
from vae_se.errors import UsageError
from vae_se.likelihood import LOG_PI, complex_gaussian_log_prob
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import PRIORS
from vae_se.priors.frame import EULER
from vae_se.training.bound import importance_bound


def small(name: str, **more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PRIORS[name](hidden=(6, 12), latent_dim=3, signal=SIGNAL, **more).double()


def powers(frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(frames, 1, generator=generator, dtype=torch.float64).mul(2).exp()
    shape = (frames, SIGNAL.stft.bins)
    return level * -torch.log1p(-torch.rand(shape, generator=generator, dtype=torch.float64))


def test_a_finished_autoencoder_reconstructs_the_same_with_standard_codes() -> None:
    prior, power = small("ae"), powers(300)
    before = prior.decode(prior.encode(power[None]).mean.unsqueeze(1))
    prior.finish(power)
    code = prior.encode(power[None]).mean
    torch.testing.assert_close(prior.decode(code.unsqueeze(1)), before)
    torch.testing.assert_close(code[0].mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(code[0].std(0), torch.ones(3, dtype=torch.float64))


def test_a_code_that_never_moves_is_no_division_by_zero() -> None:
    prior = small("ae")
    with torch.no_grad():
        prior.code_head.weight[1] = 0
    prior.finish(powers(50))
    assert all(t.isfinite().all() for t in prior.state_dict().values())


def test_the_width_around_a_code_is_laplace_s() -> None:
    """Second derivatives of the expected -log p(s, z), s ~ p(s | code), by autograd."""
    prior, power = small("ae"), powers(40)
    prior.finish(power)
    curvature = torch.zeros(3, dtype=torch.float64)
    for code in prior.encode(power[None]).mean[0].detach():
        variance = prior.decode(code).exp().detach()

        def cost(z: torch.Tensor, variance: torch.Tensor = variance) -> torch.Tensor:
            return (prior.decode(z) + variance * torch.exp(-prior.decode(z))).sum() + 0.5 * z.square().sum()

        curvature += torch.autograd.functional.hessian(cost, code).diagonal() / len(power)
    torch.testing.assert_close(prior.code_log_variance, -torch.log(curvature))


def test_the_autoencoder_s_posterior_is_a_point_and_its_importance_weights_are_not() -> None:
    prior, power = small("ae"), powers(6)
    prior.finish(powers(100, seed=1))
    posterior = prior.encode(power[None])
    z, log_q = posterior.rsample(4, torch.Generator().manual_seed(0))
    assert torch.equal(z, posterior.mean.unsqueeze(1).expand(-1, 4, -1, -1))
    assert not log_q.any()
    assert not prior.reconstruct(power[None]).kl.any()
    with torch.no_grad():
        few, many = (
            importance_bound(prior, power, draws, torch.Generator().manual_seed(1)) for draws in (1, 2000)
        )
    # Plain draws from p(z) find log p(s) of so few latents.
    z = torch.randn(1, 200000, 1, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        log_likelihood = -prior.nll(power[None, None], prior.decode(z)) - power.shape[-1] * LOG_PI
    exact = (torch.logsumexp(log_likelihood, 1) - math.log(200000)).mean()
    assert few < many < exact + 0.05
    assert exact - many < 1


def test_squared_error_is_a_density_of_the_complex_spectrum() -> None:
    """exp(-nll) / pi integrates to 1 over the complex plane, except for the region below the floor."""
    prior = small("ffvae-squared-error")
    for log_variance in (-3.0, 0.0, 5.0):

        def density(log_r: float, log_variance: float = log_variance) -> float:
            """p(s) 2 pi |s| d|s| over log r, r = |s|^2."""
            power = torch.full((1,), math.exp(log_r), dtype=torch.float64)
            nll = prior.nll(power, torch.full((1,), log_variance, dtype=torch.float64))
            return math.exp(-float(nll)) * math.exp(log_r)

        total, _ = scipy.integrate.quad(density, math.log(POWER_FLOOR) - 20, 25, limit=200)
        assert total == pytest.approx(1, abs=1e-4)


def test_squared_error_has_the_moments_of_its_docstring() -> None:
    """E log |s|^2 under the complex Gaussian of the decoder's variance is the mean of the squared error, and
    the fixed variance is that of log |s|^2: their cross-entropies differ by shape alone."""
    prior = small("ffvae-squared-error")
    log_power = np.log(np.random.default_rng(0).exponential(math.e**2, 400000))
    assert log_power.mean() == pytest.approx(2 - EULER, abs=0.01)
    assert log_power.var() == pytest.approx(math.pi**2 / 6, rel=0.01)
    power = torch.from_numpy(np.exp(log_power)).unsqueeze(-1)
    eta = torch.full_like(power, 2.0, requires_grad=True)
    prior.nll(power, eta).mean().backward()
    assert abs(float(eta.grad.sum())) < 0.01  # the best eta is the true log-variance
    gaussian = -(complex_gaussian_log_prob(power, eta) + LOG_PI).mean()
    # 1/2 log(2 pi pi^2/6) + 1/2 + E log|s|^2 against log v + 1.
    expected = 0.5 * math.log(2 * math.pi * math.pi**2 / 6) + 0.5 - EULER - 1
    assert float((prior.nll(power, eta).mean() - gaussian).detach()) == pytest.approx(expected, abs=0.01)


def test_a_size_that_is_none_is_refused() -> None:
    for name, more in (
        ("flow-vae", {"flows": 0}),
        ("gamma-vae", {"shape": 0.0}),
        ("gamma-vae", {"shape": math.inf}),
    ):
        with pytest.raises(UsageError):
            small(name, **more)
    with pytest.raises(UsageError):
        PRIORS["ffvae"](latent_dim=0)
