"""The width of the noise's log-variance: its likelihood, where it is least, and the coverage of intervals."""

import math

import pytest
import torch
from scipy.integrate import quad

from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.training.noise_width import noise_coverage, width_nll


@pytest.mark.parametrize("std", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("power", [0.01, 1.0, 30.0])
def test_the_likelihood_is_the_integral_over_the_variance(std, power):
    log_mean = 0.4
    mean = log_mean - std**2 / 2

    def joint(u):
        return math.exp(-u * u / 2 - (mean + std * u) - power * math.exp(-mean - std * u)) / math.sqrt(
            2 * math.pi
        )

    expected = -math.log(quad(joint, -9, 9)[0])
    found = width_nll(*(torch.tensor([v], dtype=torch.float64) for v in (power, log_mean, std)))
    assert float(found) == pytest.approx(expected, abs=0.1)


def drawn(std, count=200_000):
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(count, generator=generator, dtype=torch.float64)
    variance = torch.exp(0.4 - std**2 / 2 + std * normal)
    return variance * torch.empty_like(normal).exponential_(generator=generator)


@pytest.mark.parametrize("std", [0.4, 0.7])
def test_noise_of_the_model_is_covered_as_stated_and_of_the_wrong_width_is_not(std):
    power, mean = drawn(std), torch.full((200_000,), 0.4, dtype=torch.float64)
    for factor, low, high in ((1.0, 0.895, 0.905), (0.5, 0.0, 0.895), (1.5, 0.905, 1.0)):
        found = float(noise_coverage(power, mean, torch.full_like(mean, factor * std)))
        assert low < found < high, factor


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_the_likelihood_is_highest_at_the_true_width(std):
    power, mean = drawn(std), torch.full((200_000,), 0.4, dtype=torch.float64)
    costs = [
        float(width_nll(power[:, None], mean[:, None], torch.full_like(power, s * std)[:, None]).mean())
        for s in (0.8, 1.0, 1.25)
    ]
    assert costs[1] < min(costs[0], costs[2])


def test_the_width_is_learnt_without_changing_the_rest_of_the_network():
    torch.manual_seed(1)
    model = ConvolutionalNoisyEncoder(129, 4, width=8, channels=4, blocks=2, noise_width=True)
    power = torch.rand(2, 9, 129)
    encoding = model(power, torch.ones(2, 9))
    assert encoding.noise_std.shape == power.shape
    width_nll(power, encoding.log_noise, encoding.noise_std).mean().backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert learning == {"up_noise_width.weight", "up_noise_width.bias"}
