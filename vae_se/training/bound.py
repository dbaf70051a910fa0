"""The importance-weighted bound on log p(s), by which priors of all kinds can be ranked."""

from __future__ import annotations

import math
from typing import Any

import torch

#: Frames times draws of one pass, so that memory stays bounded.
_BUDGET = 20000


@torch.no_grad()
def importance_bound(prior: Any, power: torch.Tensor, draws: int, generator: torch.Generator) -> torch.Tensor:
    """A lower bound on log p(s) of one recording in nats per frame, a scalar; ``power`` (N, F).

    log (1/R) sum_r p(s, z_r) / q(z_r | s) with R = ``draws`` (Burda, Grosse and Salakhutdinov, Importance
    weighted autoencoders, 2016, eq. 8). Where frames are independent it is taken frame by frame; where they are
    tied together there is one weight per trajectory, and R draws of a long trajectory hardly raise it above
    the ELBO: such a prior's bound is looser, and what it is ahead by is more than it shows.
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
