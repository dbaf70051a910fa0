"""Base class of heavy-tailed noise: a Gaussian of scale W H in each bin, times an impulse variable."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch

from ..errors import UsageError
from ..numerics import VARIANCE_FLOOR
from ..rng import Streams
from .base import NoiseModel, NoiseState
from .impulsive import Impulsive
from .multiplicative import NMFState, check_init, product


@dataclasses.dataclass(frozen=True)
class ImpulseState(NoiseState):
    """The scale W H, and ``impulse`` phi (B, N, F): b_fn | phi_fn ~ N_c(0, phi_fn (W H)_fn)."""

    scale: NMFState
    impulse: torch.Tensor

    @property
    def w(self) -> torch.Tensor:
        """Spectra W (B, K, F) of the scale."""
        return self.scale.w

    @property
    def h(self) -> torch.Tensor:
        """Activations H (B, N, K) of the scale."""
        return self.scale.h


@dataclasses.dataclass(frozen=True)
class HeavyTailed(NoiseModel[ImpulseState]):
    """A Gaussian scale mixture: the scale is an ``impulsive`` model, and each bin has an impulse variable phi.

    ``rank``, ``init_spectrum``, ``init_scale``, ``init_jitter`` and ``margin`` are the settings of
    ``impulsive``. The impulse variables model outliers of single bins. Impulses that fill a whole frame are
    found by the initialisation of ``impulsive``; without it a heavy tail leaves a click to the speech
    (docs/noise.md).

    Leglaive, Simsekli, Liutkus, Girin and Horaud, Speech enhancement with variational autoencoders and
    alpha-stable distributions, 2019, combine impulse variables with a speech prior.
    """

    rank: int = 8
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    margin: float = 15.0

    has_alternatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"noise rank {self.rank}", "it is at least 1")
        check_init(self.init_spectrum, self.init_scale, self.init_jitter)

    @property
    def _scale(self) -> Impulsive:
        return Impulsive(
            self.rank,
            self.init_spectrum,
            self.init_scale,
            self.init_jitter,
            margin=self.margin,
            signal=self.signal,
        )

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> ImpulseState:
        """The initial state of ``impulsive``, with every phi at 1."""
        return ImpulseState(self._scale.init(power, mask, streams), torch.ones_like(power))

    def other_initialisations(self) -> Sequence[NoiseModel[ImpulseState]]:
        """The model whose scale starts at the tracked spectrum, unless this one does."""
        return [] if self.init_spectrum == "tracked" else [dataclasses.replace(self, init_spectrum="tracked")]

    def alternatives(self, state: ImpulseState, power: torch.Tensor, mask: torch.Tensor) -> list[ImpulseState]:
        """The alternatives of the scale."""
        found = self._scale.alternatives(state.scale, power, mask)
        return [ImpulseState(scale, state.impulse) for scale in found]

    def pick(self, states: Sequence[ImpulseState], choice: torch.Tensor) -> ImpulseState:
        """The choice (B, N) among the scales."""
        return ImpulseState(self._scale.pick([s.scale for s in states], choice), states[0].impulse)

    def factors(self, state: ImpulseState) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra W (B, K, F) and activations H (B, N, K)."""
        return state.w, state.h

    def variance(self, state: ImpulseState) -> torch.Tensor:
        """phi W H, (B, N, F)."""
        return (state.impulse * product(state.scale)).clamp_(min=VARIANCE_FLOOR)

    def variance_without_impulses(self, state: ImpulseState) -> torch.Tensor:
        """W H, (B, N, F)."""
        return product(state.scale)

    def update(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> ImpulseState:
        """Update W and H with phi held fixed.

        x / sqrt(phi) has the speech variance s / phi and the noise variance W H, so this is the step of
        ``nmf``.
        """
        phi = state.impulse
        scale = self._scale.update(
            state.scale, power / phi, speech_variance / phi.unsqueeze(1), log_weight, mask
        )
        return ImpulseState(scale, phi)
