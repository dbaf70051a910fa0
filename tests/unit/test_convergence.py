"""R-hat and effective draws: on chains of known autocorrelation, and against the formulas."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vae_se.inference.convergence import effective_draws, recording_rhat, split_rhat
from vae_se.inference.diagnostics import Diagnostics, summarise
from vae_se.inference.em import EMInfo


def autoregression(coefficient, chains=8, steps=4000, seed=0):
    """AR(1) of unit variance, (chains, steps, 3)."""
    noise = np.random.default_rng(seed).standard_normal((steps, chains, 3))
    values = np.empty_like(noise)
    values[0] = noise[0]
    for t in range(1, steps):
        values[t] = coefficient * values[t - 1] + (1 - coefficient**2) ** 0.5 * noise[t]
    return torch.from_numpy(values).transpose(0, 1)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_effective_draws_of_an_autoregression(coefficient):
    """The sum of its autocorrelations is c / (1 - c)."""
    expected = 8 * 4000 * (1 - coefficient) / (1 + coefficient)
    assert effective_draws(autoregression(coefficient)).mean().item() == pytest.approx(expected, rel=0.1)


def by_geyer(values):
    """Slow: pairs of autocorrelations from lag 0 on, summed while they are positive; values (chains, steps)."""
    half = values.shape[1] // 2
    halves = [part for chain in values for part in (chain[-2 * half : -half], chain[-half:])]
    within = np.mean([part.var(ddof=1) for part in halves])
    total = (half - 1) / half * within + np.var([part.mean() for part in halves], ddof=1)

    def rho(lag):
        squares = [(part[t] - part[t - lag]) ** 2 for part in halves for t in range(lag, half)]
        return 1 - np.mean(squares) / (2 * total)

    time, lag = -1.0, 0
    while lag + 1 < half:
        pair = rho(lag) + rho(lag + 1)
        if pair <= 0:
            break
        time, lag = time + 2 * pair, lag + 2
    return len(halves) * half / max(time, 1.0)


@pytest.mark.parametrize("steps", [4, 8, 9, 60, 201])
@pytest.mark.parametrize("coefficient", [-0.6, 0.0, 0.4, 0.9])
def test_effective_draws_pairs_lags_as_geyer_does(steps, coefficient):
    values = autoregression(coefficient, chains=3, steps=steps, seed=steps)[..., :2]
    for frame in range(2):
        expected = by_geyer(values[..., frame].numpy())
        assert effective_draws(values)[frame].item() == pytest.approx(expected, rel=1e-9)


def test_a_negative_autocorrelation_at_an_even_lag_does_not_end_the_sum_early():
    """rho_1 is large, rho_2 negative: Geyer sums rho_0 + rho_1, then ends at rho_2 + rho_3."""
    time = torch.arange(4000.0, dtype=torch.float64)
    noise = autoregression(0.0, chains=4)[..., 0]
    values = torch.cos(time * 2 * math.pi / 6.5) + 0.5 * noise
    found = effective_draws(values.unsqueeze(-1)).item()
    assert found == pytest.approx(by_geyer(values.numpy()), rel=1e-9)
    assert found < 0.7 * values.numel()


def test_rhat_is_one_for_mixed_chains_and_larger_for_others():
    mixed = autoregression(0.5)
    assert (split_rhat(mixed) - 1).abs().max() < 0.01
    apart = mixed + torch.arange(8.0)[:, None, None]
    assert split_rhat(apart).min() > 1.5
    # All chains drift alike: the two halves of each chain reveal it.
    drifting = mixed + torch.linspace(0, 4, 4000)[None, :, None]
    assert split_rhat(drifting).min() > 1.2


def test_rhat_matches_the_formula():
    values = torch.randn(3, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    halves = np.array([part for chain in values.numpy() for part in (chain[1:6], chain[6:])])
    between = 5 * halves.mean(1).var(ddof=1)
    within = halves.var(1, ddof=1).mean()
    expected = np.sqrt((4 / 5 * within + between / 5) / within)
    assert split_rhat(values).item() == pytest.approx(expected, rel=1e-12)


def test_pooling_averages_variances_over_frames():
    values = torch.randn(4, 6, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert split_rhat(values, pooled=True).item() == pytest.approx(1, abs=0.02)
    # Without pooling, R-hat of a single frame varies widely after so few steps.
    assert split_rhat(values).std() > 0.1


def test_recording_rhat_ignores_padding():
    generator = torch.Generator().manual_seed(0)
    joints = [torch.randn(2, 3, 50, generator=generator) for _ in range(8)]
    mask = torch.ones(2, 50)
    mask[1, 20:] = 0
    for joint in joints:
        joint[1, :, 20:] = float("nan")
    found = recording_rhat(joints, mask)
    assert found.shape == (2,)
    assert (found - 1).abs().max() < 0.1
    assert recording_rhat(joints[:3], mask) is None
    assert recording_rhat([None] * 8, mask) is None


@pytest.mark.parametrize(("rhat", "said"), [(1.05, False), (1.8, True)])
def test_diagnostics_warn_of_chains_that_have_not_mixed(rhat, said):
    one = torch.ones(1)
    trace = [EMInfo(one, 4 * one, 0.3 * one)] * 4
    estep = SimpleNamespace(draws=4)
    found = Diagnostics.of_trace(trace, 0, 10, estep, torch.tensor([rhat]))
    assert found.rhat == pytest.approx(rhat)
    assert any("have not mixed" in warning for warning in found.warnings) == said
    # The recording gets the largest R-hat of its segments.
    assert summarise([found, Diagnostics.of_trace(trace, 0, 10, estep, one)]).rhat == pytest.approx(rhat)
