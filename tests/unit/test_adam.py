"""Adam of the gradient kernels against the algorithm of its paper."""

import numpy as np
import torch

from vae_se.inference.estep.gradient import Adam


def test_ascends_as_the_paper_s_algorithm_does():
    """Kingma and Ba (2015), algorithm 1, with decay rates of 0.9 and 0.99; the moments' bias is corrected."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(6)
    first, second = np.zeros(6), np.zeros(6)
    adam = Adam.start(torch.from_numpy(theta))
    for t in range(1, 21):
        gradient = rng.standard_normal(6) + 0.5
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        theta = theta + 0.1 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
        adam = adam.ascend(torch.from_numpy(gradient), 0.1)
        np.testing.assert_allclose(adam.parameters.numpy(), theta, rtol=1e-9)
