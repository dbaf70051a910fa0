"""The ELBO's terms against closed forms, a numerical integral and autograd-free references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vae_se.likelihood import complex_gaussian_log_prob, itakura_saito
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import SignalSpec
from vae_se.priors.ffvae import FFVAE
from vae_se.priors.posterior import GaussianPosterior
from vae_se.training.elbo import elbo_terms, itakura_saito_from, loss
from vae_se.training.loop import initialise


def tiny(latent: int = 1, seed: int = 0) -> FFVAE:
    """A prior of five bins in double precision, its weights made lively."""
    model = initialise(lambda: FFVAE([4, 6], latent, signal=SignalSpec(window=8, hop=2)), seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_terms_equal_loops_over_numpy(scale: float) -> None:
    model = tiny(latent=3)
    power = scale * torch.rand(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        terms = elbo_terms(model, power, torch.Generator().manual_seed(2))
    posterior = model.encode(power[None])
    z, _ = posterior.rsample(1, torch.Generator().manual_seed(2))
    eta = model.decode(z)[0, 0].detach().numpy()
    mean, log_variance = posterior.mean[0].detach().numpy(), posterior.log_variance[0].detach().numpy()
    for n in range(7):
        expected = sum(eta[n, f] + (float(power[n, f]) + POWER_FLOOR) / math.exp(eta[n, f]) for f in range(5))
        assert float(terms.reconstruction[n]) == pytest.approx(expected, rel=1e-12)
        kl = sum(
            (math.exp(log_variance[n, d]) + mean[n, d] ** 2 - 1 - log_variance[n, d]) / 2 for d in range(3)
        )
        assert float(terms.kl[n]) == pytest.approx(kl, rel=1e-12)
    assert float(terms.kl_by_dimension.sum()) == pytest.approx(float(terms.kl.mean()), rel=1e-12)


def test_reconstruction_is_the_likelihood_less_its_constant() -> None:
    model = tiny()
    power = torch.rand(4, 5, dtype=torch.float64) + 0.1
    terms = elbo_terms(model, power, torch.Generator().manual_seed(0))
    z, _ = model.encode(power[None]).rsample(1, torch.Generator().manual_seed(0))
    log_prob = complex_gaussian_log_prob(power + POWER_FLOOR, model.decode(z)[0, 0]).sum(-1)
    torch.testing.assert_close(-terms.reconstruction - 5 * math.log(math.pi), log_prob)


def test_kl_equals_a_numerical_integral() -> None:
    mean, log_variance = 0.7, -1.3
    z = np.linspace(-12, 12, 200_001)
    variance = math.exp(log_variance)
    q = np.exp(-((z - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    log_ratio = -((z - mean) ** 2) / (2 * variance) - 0.5 * log_variance + z**2 / 2
    posterior = GaussianPosterior(torch.tensor([[[mean]]]), torch.tensor([[[log_variance]]]))
    assert float(posterior.kl()) == pytest.approx(float(np.trapezoid(q * log_ratio, z)), abs=1e-6)


def test_elbo_is_below_the_evidence_by_the_divergence_to_the_true_posterior() -> None:
    """With one latent everything is an integral over a line: log p(x) - ELBO = KL(q || p(z|x)) >= 0."""
    model = tiny()
    power = torch.rand(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 3
    z = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    with torch.no_grad():
        eta = model.decode(z[None, None, :, None])[0, 0]
        log_likelihood = complex_gaussian_log_prob(power + POWER_FLOOR, eta).sum(-1)
        log_joint = log_likelihood + model.log_prior(z[:, None])
        step = float(z[1] - z[0])
        evidence = float(torch.logsumexp(log_joint, 0)) + math.log(step)
        posterior = model.encode(power[None])
        log_q = posterior.log_prob(z[None, None, :, None].expand(1, 1, -1, 1))[0, 0]
        q = torch.exp(log_q)
        exact = float((q * (log_likelihood - log_q + model.log_prior(z[:, None]))).sum() * step)
        gap = float((q * (log_q - (log_joint - evidence))).sum() * step)
        generator = torch.Generator().manual_seed(9)
        many = elbo_terms(model, power.expand(40_000, 5), generator)
        estimate = -float((many.reconstruction + many.kl).mean()) - 5 * math.log(math.pi)
        spread = float(many.reconstruction.std()) / math.sqrt(40_000)
    assert gap > 0
    assert exact + gap == pytest.approx(evidence, abs=1e-6)
    assert abs(estimate - exact) < 5 * spread


def test_itakura_saito_from_the_reconstruction_term() -> None:
    power = torch.rand(6, 5, dtype=torch.float64)
    eta = torch.randn(6, 5, dtype=torch.float64)
    reconstruction = (eta + (power + POWER_FLOOR) * torch.exp(-eta)).sum(-1)
    torch.testing.assert_close(
        itakura_saito_from(reconstruction, power), itakura_saito(power + POWER_FLOOR, eta.exp()).sum(-1)
    )


def test_beta_and_free_bits() -> None:
    model = tiny(latent=3)
    terms = elbo_terms(model, torch.rand(8, 5, dtype=torch.float64), torch.Generator().manual_seed(0))
    reconstruction, kl = float(terms.reconstruction.mean()), float(terms.kl.mean())
    assert float(loss(terms, 0.0)) == pytest.approx(reconstruction)
    assert float(loss(terms, 0.5)) == pytest.approx(reconstruction + 0.5 * kl)
    # As many free nats as there could be: the KL is the constant 3 * 100, without a gradient.
    free = loss(terms, 1.0, free_bits=100.0)
    assert float(free) == pytest.approx(reconstruction + 300)
    assert torch.autograd.grad(free, model.log_variance_head.weight, retain_graph=True)[0].isfinite().all()


def test_gradients_reach_every_parameter() -> None:
    model = FFVAE([8, 16], 4, signal=SignalSpec(window=64, hop=16))
    model.set_statistics(torch.zeros(33), torch.ones(33))
    terms = elbo_terms(model, torch.rand(32, 33), torch.Generator().manual_seed(0))
    loss(terms, 1.0).backward()
    # The log-variance head starts at zero, and so does the gradient of nothing: everything is reached.
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_digital_silence_and_loud_frames_are_finite() -> None:
    model = FFVAE([8, 16], 4, signal=SignalSpec(window=64, hop=16))
    power = torch.cat([torch.zeros(2, 33), torch.full((2, 33), 1e8)])
    terms = elbo_terms(model, power, torch.Generator().manual_seed(0))
    assert torch.isfinite(terms.reconstruction).all()
    assert torch.isfinite(terms.kl).all()


def test_padding_of_sequences_counts_in_no_term() -> None:
    """Frames beyond the end of a sequence, however loud, change neither term nor the KL of a latent."""
    model, mask = tiny(latent=3), torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.float64)
    power = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    power[1, 2:] = 1e6
    exists = mask > 0
    with torch.no_grad():
        terms = elbo_terms(model, power, torch.Generator().manual_seed(2), mask)
        every = elbo_terms(model, power, torch.Generator().manual_seed(2))
        kl = model.encode(power).kl_by_dimension()[exists]
    torch.testing.assert_close(terms.kl, kl.sum(-1))
    torch.testing.assert_close(terms.kl_by_dimension, kl.mean(0))
    torch.testing.assert_close(terms.reconstruction, every.reconstruction.view(2, 4)[exists])
