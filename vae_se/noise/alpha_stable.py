"""Alpha-stable noise: tails so heavy that the power has no mean."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch

from ..errors import UsageError
from ..rng import Streams
from .base import NOISES
from .heavy import HeavyTailed, ImpulseState
from .multiplicative import product


def positive_stable(index: float, streams: Streams, bins: int, dtype: torch.dtype) -> torch.Tensor:
    """Draws (B, N, F) of the positive stable law with E exp(-t phi) = exp(-t^a), a = ``index`` in (0, 1).

    Kanter, Stable densities under change of scale and total variation inequalities, 1975, sec. 4:
    phi = sin(a U) / sin(U)^(1/a) * (sin((1 - a) U) / E)^((1 - a) / a), U uniform on (0, pi), E standard
    exponential.
    """
    a = index
    # In float64 and off the ends, where the sines vanish: powers of 1 / a overflow otherwise.
    u = math.pi * streams.uniform(bins, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    e = torch.log1p(-streams.uniform(bins, dtype=torch.float64)).neg().clamp(min=1e-12)
    log_phi = torch.log(torch.sin(a * u)) - torch.log(torch.sin(u)) / a
    log_phi += (1 - a) / a * (torch.log(torch.sin((1 - a) * u)) - torch.log(e))
    # Whatever lies beyond +-60 dB is an impulse, or none, all the same.
    return log_phi.exp().clamp(1e-6, 1e6).to(dtype)


@NOISES.add("alpha-stable")
@dataclasses.dataclass(frozen=True)
class AlphaStable(HeavyTailed):
    """b_fn isotropic complex alpha-stable with characteristic exponent ``alpha`` in (0, 2) and scale (W H)_fn.

    As a Gaussian scale mixture, b | phi ~ N_c(0, phi W H) with phi positive stable of exponent alpha / 2. Its
    density has no closed form, so phi is drawn: ``sweeps`` Metropolis-Hastings steps an iteration whose
    proposals come from the prior, accepted with the ratio of the expected likelihoods
    exp(sum_r w_r log N_c(x; 0, s_r + phi W H)).

    Leglaive, Simsekli, Liutkus, Girin and Horaud, Speech enhancement with variational autoencoders and
    alpha-stable distributions, 2019, sec. 4; Simsekli, Liutkus and Cemgil, Alpha-stable matrix
    factorization, 2015. Departures: one impulse variable for all draws of the speech, and a scale of rank K in
    place of one that is constant over time. The law of phi is scaled to exp(-t^(alpha/2)), as W takes up
    any constant.
    """

    auxiliary: ClassVar[bool] = True

    alpha: float = 1.95
    sweeps: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < 2:
            raise UsageError(f"characteristic exponent {self.alpha}", "noise.alpha lies between 0 and 2")

    def sample_auxiliary(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
    ) -> ImpulseState:
        """Moves of phi, bin by bin."""
        scale, weight = product(state.scale), log_weight.exp().unsqueeze(-1)

        def log_likelihood(phi: torch.Tensor) -> torch.Tensor:
            variance = speech_variance + (phi * scale).unsqueeze(1)
            return -(weight * (variance.log() + power.unsqueeze(1) / variance)).sum(1)

        phi, bins = state.impulse, power.shape[-1]
        current = log_likelihood(phi)
        for _ in range(self.sweeps):
            proposed = positive_stable(self.alpha / 2, streams, bins, power.dtype)
            # Frames that do not exist draw nothing and hold zeros, whose logarithms must not arise.
            proposed = torch.where(mask.unsqueeze(-1) > 0, proposed, torch.ones_like(proposed))
            new = log_likelihood(proposed)
            uniform = streams.uniform(bins, dtype=power.dtype)
            taken = torch.log(uniform.clamp(min=1e-30)) < new - current
            phi, current = torch.where(taken, proposed, phi), torch.where(taken, new, current)
        return ImpulseState(state.scale, phi)
