"""The importance-weighted bound on log p(s), by which priors of different kinds are compared."""

from __future__ import annotations

import math

import torch

from ..priors import SpeechPrior

#: Frames times draws in one pass, to bound the memory.
_BUDGET = 20000


@torch.no_grad()
def importance_bound(
    prior: SpeechPrior, power: torch.Tensor, draws: int, generator: torch.Generator
) -> torch.Tensor:
    """A lower bound on log p(s) of one recording in nats per frame, a scalar; ``power`` (N, F).

    log (1/R) sum_r p(s, z_r) / q(z_r | s) with R = ``draws`` (Burda, Grosse and Salakhutdinov, Importance
    weighted autoencoders, 2016). For a prior of independent frames it is computed per frame. A dynamical
    prior has one weight per trajectory, and for long trajectories the bound hardly exceeds the ELBO: the
    bound of such a prior is looser. A prior that takes the activity u of the speech as input (``dkf-driven``)
    gives a bound on log p(s | u) instead, which cannot be compared with the others.
    """
    frames = len(power)
    at_once = max(1, min(draws, _BUDGET // frames))
    weights = [
        prior.log_weight(power.unsqueeze(0), min(at_once, draws - start), generator)[0]
        for start in range(0, draws, at_once)
    ]
    weight = torch.cat(weights).double()  # (R, N)
    if not prior.factorised:
        weight = weight.sum(-1, keepdim=True)
    return (torch.logsumexp(weight, 0) - math.log(draws)).sum() / frames
