"""The loss of a noisy encoder against slow loops, and where its terms have their optimum."""

import math

import numpy as np
import pytest
import torch

from tests.toys import SIGNAL, tiny_prior
from vae_se.noisy_encoder import NoisyEncoding
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.network import wiener_at
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import GaussianPosterior
from vae_se.training.mixtures import MixtureBatch
from vae_se.training.noisy_encoder_loss import (
    DEVIATION_STD,
    FIGURES,
    RATIO_CAP,
    LossWeights,
    filter_risk,
    loss_of,
    robust_nll,
    spread_divergence,
)

BINS, LATENT = SIGNAL.stft.bins, 4
PRIOR = tiny_prior(dtype=torch.float64)


def draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def mixture(batch=2, frames=5):
    generator = torch.Generator().manual_seed(4)
    speech, noise = (
        torch.randn(batch, frames, BINS, generator=generator, dtype=torch.complex128) for _ in range(2)
    )
    speech[0, 0, 0] = 50  # a ratio above the cap
    return MixtureBatch(speech, 0.3 * noise)


def gaussian(draw, batch=2, frames=5):
    return GaussianPosterior(draw(batch, frames, LATENT), 0.5 * draw(batch, frames, LATENT) - 1)


def encoding(seed=8, deviation=True, spread=True):
    draw = draws(seed)
    posterior, log_noise = gaussian(draw), draw(2, 5, BINS)
    wide = GaussianPosterior(posterior.mean, posterior.log_variance + 1)
    return NoisyEncoding(
        posterior, log_noise, draw(2, 5, BINS) if deviation else None, wide if spread else None
    )


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("more", [True, False], ids=["convolutional", "recurrent"])
def test_every_term_is_the_slow_loop(more):
    batch, found = mixture(), encoding(deviation=more, spread=more)
    loss = loss_of(PRIOR, found, batch, generator())
    z, _ = found.posterior.rsample(1, generator())
    log_speech = PRIOR.decode(z)[:, 0].numpy()
    deviation = found.log_deviation.numpy() if more else np.zeros_like(log_speech)
    clean = PRIOR.encode(batch.speech.abs().square())
    s, b, log_noise = batch.speech.numpy(), batch.noise.numpy(), found.log_noise.numpy()
    mean, log_variance = found.posterior.mean.numpy(), found.posterior.log_variance.numpy()

    def nll(power, log_v):
        ratio = (power + POWER_FLOOR) / math.exp(log_v)
        return log_v + (ratio if ratio < RATIO_CAP else RATIO_CAP * (1 + math.log(ratio / RATIO_CAP)))

    def compressed(value):
        size = math.sqrt(abs(value) ** 2 + POWER_FLOOR)
        return size**0.3, value / size * size**0.3

    rows, frames, bins = s.shape
    expected = dict.fromkeys(FIGURES[1:], 0.0)
    for i in range(rows):
        misfit, scale, error, energy = 0.0, 0.0, 0.0, 0.0
        for n in range(frames):
            for f in range(bins):
                eta = log_speech[i, n, f] + deviation[i, n, f]
                expected["speech"] += nll(abs(s[i, n, f]) ** 2, eta) / (rows * frames)
                expected["noise"] += nll(abs(b[i, n, f]) ** 2, log_noise[i, n, f]) / (rows * frames)
                expected["deviation"] += 0.5 * (deviation[i, n, f] / DEVIATION_STD) ** 2 / (rows * frames)
                gain = 1 / (1 + math.exp(log_noise[i, n, f] - eta))
                y = gain * (s[i, n, f] + b[i, n, f])
                (y_size, y_value), (s_size, s_value) = compressed(y), compressed(s[i, n, f])
                misfit += 0.7 * (y_size - s_size) ** 2 + 0.3 * abs(y_value - s_value) ** 2
                scale += s_size**2
                error += abs(y - s[i, n, f]) ** 2
                energy += abs(s[i, n, f]) ** 2 + POWER_FLOOR
            for k in range(LATENT):
                m, v = mean[i, n, k], log_variance[i, n, k]
                expected["kl"] += 0.5 * (math.exp(v) + m**2 - 1 - v) / (rows * frames)
                if more:
                    wide = float(found.spread.log_variance[i, n, k])
                    c, cv = float(clean.mean[i, n, k]), float(clean.log_variance[i, n, k])
                    ratio = (math.exp(cv) + (c - m) ** 2) / math.exp(wide)
                    expected["kl"] += 0.5 * (ratio - 1 + wide - cv) / (rows * frames)
        expected["distance"] += misfit / scale / rows
        expected["sdr"] -= 10 * math.log10(energy / (error + 1e-3 * energy)) / rows
    for name, value in expected.items():
        assert float(getattr(loss, name)) == pytest.approx(value, rel=1e-9), name
    weights = LossWeights(0.5, 3.0, 2.0)
    total = expected["speech"] + expected["kl"] + expected["deviation"] + 0.5 * expected["noise"]
    total += 3 * expected["distance"] + 2 * expected["sdr"]
    assert float(loss.total(weights)) == pytest.approx(total, rel=1e-9)
    figures = dict(zip(FIGURES, loss.figures(weights).tolist(), strict=True))
    assert figures == pytest.approx(expected | {"loss": total}, rel=1e-9)


def test_kl_is_the_mean_of_log_q_less_log_p():
    found = encoding(spread=False)
    z, log_q = found.posterior.rsample(20_000, generator(2))
    sampled = log_q - PRIOR.log_prior(z)
    error = float(sampled.mean((0, 2)).std()) / math.sqrt(20_000)
    assert float(loss_of(PRIOR, found, mixture(), generator()).kl) == pytest.approx(
        float(sampled.mean()), abs=5 * error
    )


# ---- the robust likelihood


def test_the_robust_likelihood_is_the_gaussian_one_below_the_cap():
    power = torch.tensor([[0.3, 2.0, 39.0]], dtype=torch.float64)
    log_variance = torch.zeros(1, 3, dtype=torch.float64)
    assert float(robust_nll(power, log_variance)) == pytest.approx(float(power.sum()), rel=1e-6)


def test_it_is_smooth_at_the_cap_and_bounds_the_gradient():
    ratio = torch.tensor([1.0, 39.999, 40.001, 1e3, 1e9], dtype=torch.float64)
    log_variance = torch.zeros(5, 1, dtype=torch.float64, requires_grad=True)
    values = robust_nll(ratio[:, None], log_variance)
    values.sum().backward()
    gradient = log_variance.grad[:, 0]
    assert float((values[2] - values[1]).detach()) == pytest.approx(0.002, rel=1e-3)
    assert float(gradient[2] - gradient[1]) == pytest.approx(0, abs=2e-3)
    assert gradient.tolist() == pytest.approx([0, -39, -39, -39, -39], abs=2e-3)


def test_its_optimum_is_the_power_whether_fixed_or_random():
    grid = torch.linspace(-3, 3, 601, dtype=torch.float64)
    one = robust_nll(torch.full((601, 1), 2.0, dtype=torch.float64), grid[:, None])
    assert float(grid[one.argmin()]) == pytest.approx(math.log(2), abs=0.01)
    # A complex Gaussian's power is exponential: the best variance is its mean.
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    power = -1.7 * torch.log1p(-uniform)
    many = torch.stack([robust_nll(power[:, None], grid[i].expand(20_000, 1)).mean() for i in range(0, 601, 5)])
    assert float(grid[::5][many.argmin()]) == pytest.approx(math.log(1.7), abs=0.05)


# ---- the calibrated spread


def test_the_best_spread_is_the_clean_variance_plus_the_squared_error():
    draw = draws(3)
    clean = GaussianPosterior(
        0.8 * draw(1, 5000, 1), torch.full((1, 5000, 1), math.log(0.2), dtype=torch.float64)
    )
    grid = torch.linspace(-2, 1, 301, dtype=torch.float64)
    means = torch.zeros(1, 5000, 1, dtype=torch.float64)
    values = [float(spread_divergence(clean, GaussianPosterior(means, means + v)).mean()) for v in grid]
    best = 0.2 + float(clean.mean.square().mean())
    assert float(grid[int(np.argmin(values))]) == pytest.approx(math.log(best), abs=0.02)


def test_the_spread_leaves_the_mean_alone():
    mean = torch.zeros(1, 2, LATENT, requires_grad=True)
    wide = torch.zeros(1, 2, LATENT, requires_grad=True)
    clean = GaussianPosterior(torch.ones(1, 2, LATENT), torch.zeros(1, 2, LATENT))
    spread_divergence(clean, GaussianPosterior(mean, wide)).sum().backward()
    assert mean.grad is None
    assert wide.grad.abs().min() > 0


# ---- the filter's risk


def test_the_risk_is_least_at_the_true_wiener_gain():
    """Speech of variance 2 and noise of variance 1 in every bin: of all constant gains, 2 / 3."""
    draw, shape = draws(5), (1, 400, 400)
    batch = MixtureBatch(
        torch.complex(draw(*shape), draw(*shape)), torch.complex(draw(*shape), draw(*shape)) / 2**0.5
    )
    gains = torch.linspace(0.5, 0.85, 36, dtype=torch.float64)
    values = [float(filter_risk(gain.expand(shape), batch)[1]) for gain in gains]
    assert float(gains[int(np.argmin(values))]) == pytest.approx(2 / 3, abs=0.011)


def test_a_perfect_output_has_no_distance_and_30_db():
    batch = MixtureBatch(mixture().speech, torch.zeros(2, 5, BINS, dtype=torch.complex128))
    distance, sdr = filter_risk(torch.ones(2, 5, BINS, dtype=torch.float64), batch)
    assert float(distance) == pytest.approx(0, abs=1e-12)
    assert float(sdr) == pytest.approx(-30, abs=1e-6)


def test_the_risk_is_the_same_at_every_level():
    batch, wiener = mixture(), torch.rand(2, 5, BINS, generator=generator(), dtype=torch.float64)
    loud = MixtureBatch(1e3 * batch.speech, 1e3 * batch.noise)
    for a, b in zip(filter_risk(wiener, batch), filter_risk(wiener, loud), strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-4)


def test_the_gain_is_that_of_the_decoder_and_the_deviation():
    found = encoding()
    speech = (PRIOR.decode(found.posterior.mean.unsqueeze(1))[:, 0] + found.log_deviation).exp()
    expected = speech / (speech + found.log_noise.exp())
    torch.testing.assert_close(wiener_at(PRIOR, found, found.posterior.mean), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_reach_every_parameter_and_not_the_prior(causal):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvolutionalNoisyEncoder(BINS, LATENT, width=12, channels=3, blocks=3, causal=causal).double()
    batch = mixture(frames=12)
    power = (batch.speech + batch.noise).abs().square()
    loss = loss_of(PRIOR, model(power, torch.ones_like(power[..., 0])), batch, generator())
    loss.total(LossWeights(1.0, 10.0, 1.0)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
        assert parameter.grad.isfinite().all(), name
    assert all(p.grad is None for p in PRIOR.parameters())
