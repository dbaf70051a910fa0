"""A whole run of Monte Carlo EM: start, iterations, averaged filter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from ..errors import UsageError
from ..rng import Streams
from .asking import ask_again
from .averaging import Estimate, averaged_filter
from .calibration import UNCALIBRATED, Calibration
from .em import EMState, Model, init, step
from .multistart import best_start, candidates
from .pooling import FilterPool


@dataclasses.dataclass(frozen=True)
class MonteCarloEM(Model):
    """A model and the settings of a run.

    ``iterations``: number of EM iterations. It is fixed: a Monte Carlo objective falls now and then, which is
    no reason to stop. ``averaging``: E-steps after the last M-step whose draws the filter averages over;
    ``pause_db``: additional attenuation of frames without speech; ``starts``: number of initialisations; EM
    continues from the one with the highest bound; ``asks``: how often a noise-aware encoder is asked, at equal
    distances over the iterations; ``encoder_weight``: weight of the noisy encoder's own posterior of the speech
    in the result, and ``learnt_weight``: how far that is moved towards the gain of :mod:`.learnt_gain`;
    ``calibration``: of the posterior variance. Raises UsageError for values out of range.
    """

    iterations: int = 60
    averaging: int = 4
    pause_db: float = 0.0
    starts: int = 1
    asks: int = 1
    encoder_weight: float = 0.5
    learnt_weight: float = 0.0
    calibration: Calibration = UNCALIBRATED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 0 or min(self.averaging, self.starts, self.asks) < 1:
            raise UsageError(
                f"{self.iterations} iterations, averaging over {self.averaging} E-steps, {self.starts} starts, "
                f"{self.asks} asks",
                "iterations must be 0 or more, averaging, starts and asks 1 or more",
            )
        if not 0 <= self.encoder_weight <= 1:
            raise UsageError(f"encoder_weight {self.encoder_weight}", "it must be 0 to 1")
        if not 0 <= self.learnt_weight <= 1:
            raise UsageError(f"learnt_weight {self.learnt_weight}", "it must be 0 to 1")
        if not self.pause_db >= 0:
            raise UsageError(
                f"attenuation of pauses by {self.pause_db} dB", "inference.pause_db must be 0 or more"
            )

    @property
    def pool(self) -> FilterPool:
        """How the noisy encoder's posterior of the speech and that of EM become one."""
        return FilterPool.of(self.encoder_weight, self.learnt_weight)

    @torch.no_grad()
    def start(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> EMState:
        """The state before the first iteration; ``power`` (B, N, F), ``mask`` (B, N)."""
        best = None
        if self.starts > 1:
            best = best_start(candidates(self, self.starts), power, mask, streams)
        return init(self, power, mask, streams, best)

    @torch.no_grad()
    def run(
        self,
        power: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
        state: EMState | None = None,
        progress: Callable[[int, int], None] | None = None,
        presence: bool = False,
    ) -> Estimate:
        """Iterate until ``iterations`` are done in all, then filter.

        ``power``: |x|^2 (B, N, F) at the prior's level; ``mask`` (B, N): 1 where a frame is valid; ``state``:
        from which an earlier run resumes, whose streams the caller has restored. ``progress`` is called with
        the number of iterations done and their total. ``presence``: compute the probability of speech.
        """
        state = state or self.start(power, mask, streams)
        asked_after = {self.iterations * ask // self.asks for ask in range(1, self.asks)}
        while state.iteration < self.iterations:
            if state.iteration in asked_after:
                state = ask_again(self, power, mask, state, streams)
            state, _ = step(self, power, mask, state, streams)
            if progress is not None:
                progress(state.iteration, self.iterations)
        return averaged_filter(
            self,
            power,
            mask,
            state,
            streams,
            averaging=self.averaging,
            pause_db=self.pause_db,
            pool=self.pool,
            calibration=self.calibration,
            presence=presence,
        )
