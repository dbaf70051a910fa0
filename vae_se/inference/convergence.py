"""Convergence of the chains (R-hat), and the number of independent draws that they are worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def split_rhat(values: torch.Tensor, pooled: bool = False) -> torch.Tensor:
    """Split R-hat of a scalar along chains, ``values`` (chains, steps, ...) with at least 4 steps.

    Every chain is cut in half. With n steps per half, B/n the variance of the halves' means and W the mean of
    their variances, R-hat = sqrt(((n - 1) / n W + B / n) / W). It is near 1 if all chains explore the same
    distribution, and larger if they differ or drift. ``pooled``: average both variances over all dimensions
    after the steps (such as frames) before taking the ratio, because few steps say little about a single frame.

    Gelman, Carlin, Stern, Dunson, Vehtari and Rubin, Bayesian data analysis, 3rd ed., 2013, ch. 11; Vehtari,
    Gelman, Simpson, Carpenter and Bürkner, Rank-normalization, folding, and localization: an improved R-hat,
    2021, here without the ranks.

    >>> one = torch.tensor([0.0, 1.0, 0.0, 1.0])
    >>> split_rhat(torch.stack([one, one])), split_rhat(torch.stack([one, one + 5]))  # n = 2: sqrt(1 / 2)
    (tensor(0.7071), tensor(4.1433))
    """
    within, total = _variances(_halves(values))
    if pooled:
        within, total = within.mean(), total.mean()
    return torch.sqrt((total / within.clamp(min=1e-30)).clamp(min=1e-30))


def recording_rhat(joints: Sequence[torch.Tensor | None], mask: torch.Tensor) -> torch.Tensor | None:
    """R-hat per utterance, (B,), of a scalar (B, R, N) per E-step, pooled over valid frames.

    None if some E-steps have no chains or there are fewer than four; ``mask`` (B, N) is 1 in valid frames.
    """
    chains = [joint for joint in joints if joint is not None]
    if len(chains) < max(4, len(joints)):
        return None
    values = torch.stack(chains, 2)  # (B, R, steps, N)
    return torch.stack([split_rhat(v[..., m > 0], pooled=True) for v, m in zip(values, mask, strict=True)])


def effective_draws(values: torch.Tensor) -> torch.Tensor:
    """The number of independent draws that give the mean of ``values`` (chains, steps, ...) as precisely.

    m n / (1 + 2 sum_t rho_t) over m split chains of n steps, with rho_t = 1 - V_t / (2 var+) and V_t the mean
    square of the difference at lag t; the sum ends where rho_2t + rho_2t+1 is no longer positive (Geyer,
    Practical Markov chain Monte Carlo, 1992); the first of these pairs is rho_0 + rho_1 with rho_0 = 1. The
    result is at most m n. Gelman et al., 2013, ch. 11.
    """
    halves = _halves(values)
    chains, steps = halves.shape[:2]
    _, total = _variances(halves)
    time = torch.zeros_like(total)  # sum of the pairs, which contains rho_0 = 1
    going = torch.ones_like(total, dtype=torch.bool)
    for lag in range(0, steps - 1, 2):
        pair = _correlation(halves, total, lag) + _correlation(halves, total, lag + 1)
        going = going & (pair > 0)
        time = time + torch.where(going, pair, torch.zeros_like(time))
    return chains * steps / (2 * time - 1).clamp(min=1)


def _correlation(halves: torch.Tensor, total: torch.Tensor, lag: int) -> torch.Tensor:
    steps = halves.shape[1]
    difference = (halves[:, lag:] - halves[:, : steps - lag]).square().mean((0, 1))
    return 1 - difference / (2 * total.clamp(min=1e-30))


def _halves(values: torch.Tensor) -> torch.Tensor:
    """Chains (m, steps, ...) cut in half: (2 m, steps // 2, ...); an odd first step is dropped."""
    half = values.shape[1] // 2
    return torch.cat([values[:, -2 * half : -half], values[:, -half:]])


def _variances(halves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """W, and var+ = (n - 1) / n W + B / n."""
    steps = halves.shape[1]
    within = halves.var(1).mean(0)
    return within, (steps - 1) / steps * within + halves.mean(1).var(0)
