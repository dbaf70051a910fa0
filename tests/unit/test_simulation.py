"""Noise drawn from the model: what its parts promise, and that the draw is the seed's affair alone."""

import math

import pytest
import torch

from tests.toys import SIGNAL, tiny_prior
from vae_se.noisy_encoder.simulation import draw_noise
from vae_se.noisy_encoder.simulation import model_noise as simulation
from vae_se.rng import torch_stream

RATE = 62.5  # frames a second of the shipped priors
FRAMES = 4000


def generator(seed=0):
    return torch_stream(seed, "simulation")


def course(kind, seed=0, frames=FRAMES):
    return simulation._course(kind, frames, RATE, generator(seed))


def test_unit_power_and_finite_over_many_recordings():
    noise = draw_noise(tiny_prior(), 40, 8000, generator())
    assert noise.shape == (40, 8000)
    assert noise.isfinite().all()
    torch.testing.assert_close(noise.square().mean(-1), torch.ones(40))


def test_the_generator_decides_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    first, second, other = (draw_noise(tiny_prior(), 3, 4000, generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("samples", [1, 17, 64, 1000])
def test_any_length(samples):
    noise = draw_noise(tiny_prior(), 2, samples, generator())
    assert noise.shape == (2, samples)
    assert noise.isfinite().all()


def test_ranks_are_1_to_16_uniform_in_the_logarithm():
    stream = generator()
    ranks = torch.tensor([simulation._rank(stream) for _ in range(4000)])
    assert (ranks.min(), ranks.max()) == (1, simulation.MAX_RANK)
    # Half of log2(rank) in [0, 4] lies below 2; 4 itself is rounded from 3.5 up, at log2(3.5) = 1.81.
    assert float((ranks < 4).float().mean()) == pytest.approx(math.log2(3.5) / 4, abs=0.03)
    assert float((ranks == 1).float().mean()) == pytest.approx(math.log2(1.5) / 4, abs=0.02)


def test_dictionaries_are_positive_with_mean_one():
    for seed in range(30):
        w = simulation._dictionary(tiny_prior(), 5, 1 / 6, generator(seed))
        assert w.shape == (5, SIGNAL.stft.bins)
        assert (w >= 0).all()
        torch.testing.assert_close(w.mean(-1), torch.ones(5))


def test_voices_are_spectra_that_the_prior_decodes():
    prior = tiny_prior()
    stream = generator(4)
    w = simulation._dictionary(prior, 6, 1.0, stream)
    again = generator(4)
    simulation._uniform(again)  # the chance that was asked for
    decoded = prior.decode(prior.sample(6, again))[0, 0].clamp(-16, 8).exp()
    torch.testing.assert_close(w, decoded / decoded.mean(-1, keepdim=True))


def test_no_voices_do_without_the_prior_s_decoder():
    class NoDecoder:
        signal = SIGNAL

    assert draw_noise(NoDecoder(), 3, 2000, generator(), voices=0.0).isfinite().all()


def test_activations_span_what_float32_holds():
    for seed in range(30):
        h = simulation._activations(7, 300, RATE, generator(seed))
        assert h.shape == (300, 7)
        assert h.isfinite().all()
        assert (h > 0).all()


def test_steady_is_level():
    assert (course("steady") == 0).all()


def test_slow_has_the_moments_of_its_process():
    """The process of unit variance behind it, over many recordings: exp(-t / time constant) correlation."""
    pole = 0.95
    stream = generator()
    draws = torch.stack([simulation._autoregressive(120, pole, stream) for _ in range(3000)])
    assert draws.mean().abs() < 0.02
    variance = draws.square().mean(0)
    torch.testing.assert_close(variance, torch.ones(120), atol=0.15, rtol=0)
    for lag in (1, 5, 20):
        correlation = (draws[:, lag:] * draws[:, :-lag]).mean()
        assert correlation == pytest.approx(pole**lag, abs=0.03)
    spread = torch.tensor([float(course("slow", seed, 800).std()) for seed in range(60)])
    assert 2 < spread.mean() < 9


def test_autoregression_is_its_recursion():
    pole, frames = 0.8, 50
    fast = simulation._autoregressive(frames, pole, generator(3))
    epsilon = torch.randn(frames, generator=generator(3))
    value, slow = 0.0, []
    for n in range(frames):
        value = float(epsilon[0]) if n == 0 else pole * value + math.sqrt(1 - pole**2) * float(epsilon[n])
        slow.append(value)
    torch.testing.assert_close(fast, torch.tensor(slow), atol=1e-5, rtol=1e-5)


def test_fast_is_gamma_of_mean_one():
    power = torch.stack([10 ** (course("fast", seed) / 10) for seed in range(40)])
    assert float(power.mean()) == pytest.approx(1, abs=0.05)
    # A gamma variable of mean 1 and shape a has variance 1 / a: 0.1 to 3 gives 0.33 to 10.
    variance = power.var(-1)
    assert variance.min() > 0.25
    assert variance.max() < 13
    shape = 0.7
    draws = simulation._gamma(shape, 100_000, generator()) / shape
    assert float(draws.var()) == pytest.approx(1 / shape, rel=0.05)


def test_bursts_rise_from_a_floor_and_decay_at_a_constant_rate():
    risen = 0
    for seed in range(40):
        level = course("bursts", seed)
        assert level.max() <= 1e-3
        assert -40 - 1e-3 <= level.min() <= -15 + 1e-3
        floor = level.min()
        steps = level.diff()
        falling = (steps < -1e-3) & (level[1:] > floor + 1e-2)
        if falling.sum() > 3:
            risen += 1
            # A lesser burst may end a fall early; all other steps are the same.
            usual = (steps[falling] - steps[falling].median()).abs() < 2e-3
            assert usual.float().mean() > 0.9
    assert risen > 20


def test_decaying_maximum_is_its_loop():
    level = torch.where(torch.rand(80, generator=generator()) < 0.1, 20.0, -math.inf)
    level[0] = 3.0
    fast = simulation._decaying_maximum(level, 0.7)
    slow, value = [], -math.inf
    for x in level.tolist():
        value = max(value - 0.7, x)
        slow.append(value)
    torch.testing.assert_close(fast, torch.tensor(slow), atol=1e-4, rtol=1e-5)


def test_gated_has_two_levels():
    switched = 0
    for seed in range(20):
        levels = course("gated", seed).unique()
        assert levels.max() <= 0
        assert len(levels) <= 2
        if len(levels) == 2:
            switched += 1
            assert levels[1] == 0
            assert -40 <= levels[0] <= -20
    assert switched > 10


def test_swell_is_a_cosine():
    for seed in range(10):
        level = course("swell", seed)
        assert level.abs().max() <= 10 + 1e-4
        # A cosine is an eigenvector of the second difference: x'' = -c x with one c for all frames.
        second = level[2:] - 2 * level[1:-1] + level[:-2]
        inner = level[1:-1]
        c = -(second * inner).sum() / inner.square().sum()
        assert c > 0
        assert (second + c * inner).abs().max() < 2e-4


def test_every_kind_of_course_is_drawn():
    assert set(simulation._COURSES) == {"steady", "slow", "fast", "bursts", "gated", "swell"}


def test_spectra_are_consistent_with_a_waveform():
    """Frames of overlapping windows depend on each other; independent draws would lose half their power."""
    prior = tiny_prior()
    noise = draw_noise(prior, 1, 4000, generator())
    stft = prior.signal.stft
    spectrum = stft.analyse(noise)
    torch.testing.assert_close(stft.analyse(stft.synthesise(spectrum, 4000)), spectrum, atol=1e-4, rtol=1e-4)
