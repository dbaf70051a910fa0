"""Alpha-stable noise: a distribution whose tails are so heavy that the power has no mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from ..errors import UsageError
from ..rng import Streams
from .base import NOISES
from .heavy_tailed import HeavyTailed, ImpulseState
from .multiplicative import product


def positive_stable(index: float, streams: Streams, bins: int, dtype: torch.dtype) -> torch.Tensor:
    """Draws (B, N, F), positive stable: E exp(-t phi) = exp(-t^a) with a = ``index`` in (0, 1).

    Kanter, Stable densities under change of scale and total variation inequalities, 1975:
    phi = sin(a U) / sin(U)^(1/a) * (sin((1 - a) U) / E)^((1 - a) / a), with U uniform on (0, pi) and E standard
    exponential. Draws are limited to 1e-6 .. 1e6 (+-60 dB).
    """
    first, second = (streams.uniform(bins, dtype=torch.float64) for _ in range(2))
    return positive_stable_at(index, first, second).to(dtype)


def positive_stable_at(index: float, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """What :func:`positive_stable` makes of two uniform numbers in [0, 1), in float64."""
    a = index
    first, second = torch.broadcast_tensors(first, second)
    # U away from 0 and pi where the sines vanish: powers of 1 / a would overflow.
    u = math.pi * first.clamp(1e-9, 1 - 1e-9)
    e = torch.log1p(-second).neg().clamp(min=1e-12)
    log_phi = torch.log(torch.sin(a * u)) - torch.log(torch.sin(u)) / a
    log_phi += (1 - a) / a * (torch.log(torch.sin((1 - a) * u)) - torch.log(e))
    return log_phi.exp().clamp(1e-6, 1e6)


@NOISES.add("alpha-stable")
@dataclasses.dataclass(frozen=True)
class AlphaStable(HeavyTailed):
    """b_fn isotropic complex alpha-stable with characteristic exponent ``alpha`` in (0, 2) and scale (W H)_fn.

    As a Gaussian scale mixture, b | phi ~ N_c(0, phi W H) with phi positive stable of exponent alpha / 2. Its
    density has no closed form, so phi is sampled: each iteration makes ``sweeps`` Metropolis-Hastings steps
    whose proposals come from the prior of phi. The acceptance ratio is that of the expected likelihoods
    exp(sum_r w_r log N_c(x; 0, s_r + phi W H)).

    Leglaive, Simsekli, Liutkus, Girin and Horaud, Speech enhancement with variational autoencoders and
    alpha-stable distributions, 2019; Simsekli, Liutkus and Cemgil, Alpha-stable matrix factorization, 2015.
    Departures: one impulse variable for all draws of the speech, and a scale of rank K instead of one that is
    constant over time. The distribution of phi is normalised to exp(-t^(alpha/2)), because W absorbs any
    constant.

    Raises UsageError unless ``alpha`` lies between 0 and 2.
    """

    auxiliary: ClassVar[bool] = True

    alpha: float = 1.95
    sweeps: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < 2:
            raise UsageError(f"characteristic exponent {self.alpha}", "noise.alpha lies between 0 and 2")

    def impulse_quantiles(self, count: int) -> Sequence[float]:
        """Quantiles of the positive stable distribution, from a grid of its two uniform numbers."""
        places = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
        found = positive_stable_at(self.alpha / 2, places[:, None], places).flatten()
        wanted = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        return [float(value) for value in torch.quantile(found, wanted)]

    def sample_auxiliary(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
    ) -> ImpulseState:
        """``sweeps`` Metropolis-Hastings steps of phi; every bin is accepted or rejected on its own."""
        scale, weight = product(state.scale), log_weight.exp().unsqueeze(-1)

        def log_likelihood(phi: torch.Tensor) -> torch.Tensor:
            variance = speech_variance + (phi * scale).unsqueeze(1)
            return -(weight * (variance.log() + power.unsqueeze(1) / variance)).sum(1)

        phi, bins = state.impulse, power.shape[-1]
        current = log_likelihood(phi)
        for _ in range(self.sweeps):
            proposed = positive_stable(self.alpha / 2, streams, bins, power.dtype)
            # Frames that are not valid have no draws but zeros, whose logarithm would be -inf.
            proposed = torch.where(mask.unsqueeze(-1) > 0, proposed, torch.ones_like(proposed))
            new = log_likelihood(proposed)
            uniform = streams.uniform(bins, dtype=power.dtype)
            accepted = torch.log(uniform.clamp(min=1e-30)) < new - current
            phi, current = torch.where(accepted, proposed, phi), torch.where(accepted, new, current)
        return ImpulseState(state.scale, phi)
