"""What autoregressive priors hear of themselves, and the scale of the features that they hear."""

import pytest
import torch

from tests.toys import SIGNAL, small_prior
from vae_se.priors import PRIORS

FRAMES = 6


def exponential(variance, count, seed=0):
    """Powers (count, F) of a complex Gaussian with this variance (F,)."""
    shape = (count, len(variance))
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -torch.log1p(-uniform) * variance


def autoregressive(name):
    """A small prior whose features are not its log-powers."""
    prior = small_prior(name, hidden_size=5)
    bins = SIGNAL.stft.bins
    prior.log_power_mean.copy_(torch.linspace(-3, 2, bins))
    prior.log_power_std.copy_(torch.linspace(0.5, 2, bins))
    return prior


@pytest.mark.parametrize("name", ["srnn", "storn", "vrnn"])
def test_the_own_past_is_the_expected_feature_of_speech_with_that_variance(name):
    """A mean of 10,000 frames drawn from the model's output."""
    prior, variance = autoregressive(name), torch.logspace(-3, 3, SIGNAL.stft.bins, dtype=torch.float64)
    drawn = prior.features(exponential(variance, 10_000))
    error = (drawn.mean(0) - prior.own_features(variance.log())) / (drawn.std(0) / 100)
    assert error.abs().max() < 5


@pytest.mark.parametrize("name", ["srnn", "storn", "vrnn"])
def test_two_passes_of_scheduled_sampling_roll_out_three_frames(name):
    """Each pass makes the past of one more frame the model's own; the first frame has no past."""
    prior = autoregressive(name)
    power = 5 * exponential(torch.ones(SIGNAL.stft.bins).double(), FRAMES)[None]
    with torch.no_grad():
        z = prior.encode(power).draw(1, torch.Generator().manual_seed(3)).z
        rolled = prior.decode(z[None])[0]
        passes = prior.reconstruct(power, torch.Generator().manual_seed(3), None, 1.0).log_variance
    torch.testing.assert_close(passes[:, :3], rolled[:, :3])
    assert not torch.allclose(passes[:, 3:], rolled[:, 3:])


def test_an_untrained_prior_has_the_mean_power_of_its_training_speech_and_standard_features():
    variance = torch.logspace(-2, 4, SIGNAL.stft.bins, dtype=torch.float64)
    power = exponential(variance, 20_000)
    prior = PRIORS["ffvae"](hidden=(6, 12), latent_dim=3, signal=SIGNAL).double()
    prior.set_statistics(power.log().mean(0), power.log().std(0))
    torch.testing.assert_close(prior.output.bias.exp(), variance, rtol=0.05, atol=0.0)
    features = prior.features(power)
    assert features.mean(0).abs().max() < 1e-3
    assert (features.std(0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["srnn", "storn", "vrnn"])
def test_the_written_out_derivative_of_a_roll_out_is_that_of_the_loop(name):
    """Two recordings in one batch; log-variances, p(z_n | ...) and the gradient of a function of both."""
    prior = autoregressive(name)
    z = torch.randn(2, FRAMES, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = []
    for slow in (False, True):
        prior.requires_grad_(slow)  # with weights to train, autograd differentiates the loop
        leaf = z.clone().requires_grad_()
        eta, moments = prior.without_speech(leaf, None)
        total = eta.sin().sum() + sum(value.cos().sum() for value in moments or ())
        found.append([eta, *(moments or ()), *torch.autograd.grad(total, leaf)])
    for fast, loop in zip(*found, strict=True):
        torch.testing.assert_close(fast, loop)
