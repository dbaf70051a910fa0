"""What heavy-tailed noise models share: a Gaussian of scale W H in each bin, times an impulse variable."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from ..errors import UsageError
from ..numerics import VARIANCE_FLOOR
from ..rng import Streams
from .base import NoiseModel
from .impulsive import Impulsive
from .multiplicative import NMFState, check_init, product


@dataclasses.dataclass(frozen=True)
class ImpulseState:
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
class HeavyTailed(NoiseModel):
    """A Gaussian scale mixture over ``impulsive``, whose settings rank, start, level, spread and margin it has.

    The impulse variables take what is heavy bin by bin. What fills a frame is found by the start of
    ``impulsive``: by itself a heavy tail leaves a click to the speech as ``nmf`` does (docs/noise.md).

    Leglaive, Simsekli, Liutkus, Girin and Horaud, Speech enhancement with variational autoencoders and
    alpha-stable distributions, 2019, sec. 3, for the impulse variables beside a speech prior.
    """

    rank: int = 8
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    margin: float = 15.0

    competes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"noise rank {self.rank}", "it is at least 1")
        check_init(self.init_spectrum, self.init_scale, self.init_jitter)

    @property
    def _scale(self) -> Impulsive:
        return Impulsive(self.rank, self.init_spectrum, self.init_scale, self.init_jitter, margin=self.margin)

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> ImpulseState:
        """The start of ``impulsive``, all phi at 1."""
        return ImpulseState(self._scale.init(power, mask, streams), torch.ones_like(power))

    def rivals(self, state: ImpulseState, power: torch.Tensor, mask: torch.Tensor) -> list[ImpulseState]:
        """Those of the scale."""
        return [ImpulseState(scale, state.impulse) for scale in self._scale.rivals(state.scale, power, mask)]

    def pick(self, states: list[ImpulseState], choice: torch.Tensor) -> ImpulseState:
        """That of the scale."""
        return ImpulseState(self._scale.pick([s.scale for s in states], choice), states[0].impulse)

    def factors(self, state: ImpulseState) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra W (B, K, F) and activations H (B, N, K)."""
        return state.w, state.h

    def variance(self, state: ImpulseState) -> torch.Tensor:
        """phi W H, (B, N, F)."""
        return (state.impulse * product(state.scale)).clamp_(min=VARIANCE_FLOOR)

    def update(
        self,
        state: ImpulseState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> ImpulseState:
        """W and H under the present impulses.

        x / sqrt(phi) has the speech variance s / phi and the noise variance W H, hence the step of ``nmf``.
        """
        phi = state.impulse
        scale = self._scale.update(
            state.scale, power / phi, speech_variance / phi.unsqueeze(1), log_weight, mask
        )
        return ImpulseState(scale, phi)
