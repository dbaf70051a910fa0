"""Log-gamma latents: draws, their gradients, densities and divergence."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from tests.toys import SIGNAL
from vae_se.priors import PRIORS
from vae_se.priors.gamma_posterior import GammaPosterior, draw_log_gamma, standardisation
from vae_se.rng import Streams

Gamma = torch.distributions.Gamma


def posterior(seed: int = 0) -> GammaPosterior:
    """Of 1 utterance of 3 frames, from flatter than the prior to narrow."""
    generator = torch.Generator().manual_seed(seed)
    location = torch.randn(1, 3, 2, generator=generator, dtype=torch.float64)
    log_shape = torch.tensor([[[-1.0, 0.2], [1.0, 2.5], [4.0, 6.0]]], dtype=torch.float64)
    return GammaPosterior(location, log_shape, torch.tensor([0.3, 1.5], dtype=torch.float64))


def as_gamma(q: GammaPosterior) -> tuple[Gamma, Gamma]:
    """q(y) and p(y) of y = exp(d z + psi(a))."""
    a = q.prior_log_shape.exp()
    _, scale = standardisation(q.prior_log_shape)
    log_beta = q.log_shape - q.prior_log_shape - scale * q.location
    return Gamma(q.log_shape.exp(), log_beta.exp()), Gamma(a, torch.ones_like(a))


def test_density_is_torch_s_with_the_change_of_variables() -> None:
    q = posterior()
    _, scale = standardisation(q.prior_log_shape)
    z = torch.linspace(-4, 3, 15, dtype=torch.float64).view(1, 15, 1, 1).expand(1, 15, 3, 2)
    u = scale * z + torch.digamma(q.prior_log_shape.exp())
    expected = (as_gamma(q)[0].log_prob(u.exp()) + u + scale.log()).sum(-1)
    torch.testing.assert_close(q.log_prob(z), expected)


def test_divergence_is_torch_s_and_that_of_draws() -> None:
    q = posterior()
    torch.testing.assert_close(q.kl_by_dimension(), torch.distributions.kl_divergence(*as_gamma(q)))
    z, log_q = q.rsample(40000, torch.Generator().manual_seed(1))
    zero = torch.zeros_like(q.location)
    p = GammaPosterior(zero, q.prior_log_shape.expand_as(zero), q.prior_log_shape)
    drawn = log_q - p.log_prob(z)
    error = drawn.std(1) / 200
    assert ((drawn.mean(1) - q.kl()).abs() < 5 * error).all()
    assert p.kl().abs().max() < 1e-12


def test_divergence_and_density_hold_in_single_precision() -> None:
    """Shapes of 1e5: terms of 1e6 that cancel to a few nats."""
    wide = GammaPosterior(
        torch.full((1, 1, 1), 0.7), torch.full((1, 1, 1), math.log(1e5)), torch.tensor([math.log(2.0)])
    )
    exact = GammaPosterior(*(t.double() for t in (wide.location, wide.log_shape, wide.prior_log_shape)))
    torch.testing.assert_close(wide.kl().double(), exact.kl(), rtol=1e-4, atol=1e-3)
    z, log_q = wide.rsample(200, torch.Generator().manual_seed(2))
    torch.testing.assert_close(log_q.double(), exact.log_prob(z.double()), rtol=0, atol=0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 3.0, 200.0])
def test_draws_are_gamma_distributed(alpha: float) -> None:
    log_shape = torch.full((1, 1, 1), math.log(alpha), dtype=torch.float64)
    log_g = draw_log_gamma(log_shape, 20000, torch.Generator().manual_seed(3)).flatten()
    assert torch.isfinite(log_g).all()
    # In logarithms, since shapes as small as these draw numbers that underflow.
    assert scipy.stats.kstest(log_g.numpy(), scipy.stats.loggamma(alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.3, 2.0, 50.0])
def test_gradients_of_draws_are_implicit(alpha: float) -> None:
    """d/d(log alpha) of E[log g] = psi(alpha), and of E[(log g)^2], whose derivatives are known."""
    log_shape = torch.full((1, 1, 1), math.log(alpha), dtype=torch.float64, requires_grad=True)
    log_g = draw_log_gamma(log_shape, 40000, torch.Generator().manual_seed(4))
    first, second = (
        torch.autograd.grad(value.mean(), log_shape, retain_graph=True)[0].item()
        for value in (log_g, log_g.square())
    )
    a = torch.tensor(alpha, dtype=torch.float64)
    psi, psi1, psi2 = torch.digamma(a), torch.polygamma(1, a), torch.polygamma(2, a)
    assert first == pytest.approx(float(alpha * psi1), rel=0.03)
    assert second == pytest.approx(float(alpha * (psi2 + 2 * psi * psi1)), rel=0.05)


def test_moments_are_those_of_draws() -> None:
    q = posterior()
    z, _ = q.rsample(40000, torch.Generator().manual_seed(5))
    error = z.std(1) / 200
    assert ((z.mean(1) - q.mean).abs() < 5 * error).all()
    torch.testing.assert_close(z.var(1), q.log_variance.exp(), rtol=0.06, atol=0)


def test_a_draw_accepted_elsewhere_does_not_shift_the_stream() -> None:
    """Rejection consumes a fixed number of random numbers, so draws of other frames do not change."""
    shapes = torch.full((1, 4, 2), 0.5, dtype=torch.float64)
    changed = shapes.clone()
    changed[0, 1] = 3.0
    draws = [draw_log_gamma(s, 50, Streams.from_seed(0, ["a"], [4])) for s in (shapes, changed)]
    assert torch.equal(draws[0][:, :, [0, 2, 3]], draws[1][:, :, [0, 2, 3]])
    assert not torch.equal(draws[0], draws[1])


def test_large_shapes_are_the_gaussian_vae() -> None:
    prior = PRIORS["gamma-vae"](hidden=(6, 12), latent_dim=2, signal=SIGNAL, shape=1e6).double()
    z = torch.linspace(-3, 3, 9, dtype=torch.float64).view(1, 9, 1, 1).expand(1, 9, 1, 2)
    normal = torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
    torch.testing.assert_close(prior.log_prior(z), normal, atol=0.02, rtol=0)
    power = torch.ones(1, 1, SIGNAL.stft.bins, dtype=torch.float64)
    q = prior.encode(power)
    gaussian = 0.5 * (q.mean.square() + q.log_variance.exp() - 1 - q.log_variance)
    torch.testing.assert_close(q.kl_by_dimension(), gaussian, atol=0.01, rtol=0.01)
