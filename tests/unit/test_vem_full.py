"""The curvature of the full-covariance kernel, compared with autograd."""

import pytest
import torch

from tests.toys import model_power, tiny_prior
from vae_se.errors import UsageError
from vae_se.inference.estep.vem_full import gauss_newton
from vae_se.inference.target import Target


def make_target(frames=300, **changes):
    prior = tiny_prior(dtype=torch.float64)
    for name, value in changes.items():
        setattr(prior, name, value)
    power = model_power(prior, 1, frames)
    ones = torch.ones(1, frames, dtype=torch.float64)
    return Target(prior, power, torch.full_like(power, 0.1), 1.3 * ones, ones)


def test_precision_is_the_gauss_newton_matrix():
    """With more frames than one block; the reference Jacobian comes from autograd."""
    target = make_target()
    mean = torch.randn(1, 300, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = gauss_newton(target, mean)
    for n in (0, 255, 256, 299):
        z = mean[0, n]
        jacobian = torch.autograd.functional.jacobian(
            lambda z: target.prior.decode(z[None, None, None])[0, 0, 0], z
        )
        speech = 1.3 * target.prior.decode(z[None, None, None])[0, 0, 0].exp()
        # The Fisher information of N_c(0, V) about V is 1 / V^2, hence (dV / d eta)^2 / V^2 about eta.
        fisher = (speech / (speech + 0.1)) ** 2
        precision = torch.eye(4, dtype=torch.float64) + jacobian.T @ torch.diag(fisher) @ jacobian
        found = q.root[0, n] @ q.root[0, n].T
        torch.testing.assert_close(found @ precision, torch.eye(4, dtype=torch.float64), rtol=0, atol=0.02)


@pytest.mark.parametrize("lacks", ["frame_decoder", "standard_normal"])
def test_a_prior_without_gaussian_latents_frame_by_frame_is_refused(lacks):
    target = make_target(8, **{lacks: False})
    with pytest.raises(UsageError, match="decodes frame by frame"):
        gauss_newton(target, torch.zeros(1, 8, 4, dtype=torch.float64))
