"""The protocol of a noise model: frozen settings, an immutable state, and declared capabilities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch

from ..deprecated import warn
from ..errors import UsageError
from ..numerics import FIT_UPDATES
from ..registry import Registry
from ..rng import Streams
from ..signal_spec import SignalSpec
from .store import NoiseDictionary


@dataclasses.dataclass(frozen=True)
class NoiseState:
    """Base class of states: fields are tensors (B, ...), or frozen dataclasses of such tensors."""


S = TypeVar("S", bound=NoiseState)

#: Metadata of dataclass fields that :mod:`vae_se.assemble` fills in and a configuration cannot set.
NOT_A_SETTING = {"setting": False}


@dataclasses.dataclass(frozen=True)
class NoiseModel(ABC, Generic[S]):
    """The variance of the noise in every frame and bin, fitted to the recording.

    A model is stateless: :meth:`init` makes a state of type ``S``, and :meth:`update` returns a new one.
    Shapes: power (B, N, F), mask (B, N), speech variance (B, R, N, F), log-weights (B, R, N).

    Four capabilities are optional. Each has a default that says "not supported": hidden variables
    (:attr:`auxiliary`), alternative initialisations of a frame (:attr:`has_alternatives`), known spectra
    (:meth:`with_known`), and a factorisation (:meth:`factors`).

    ``signal``: rate and STFT of the spectra, as the prior has them; needed where a model counts in seconds.
    """

    #: Whether the model has hidden variables that :meth:`sample_auxiliary` draws.
    auxiliary: ClassVar[bool] = False
    #: Whether :meth:`alternatives` proposes initialisations from which the best is chosen frame by frame.
    has_alternatives: ClassVar[bool] = False

    signal: SignalSpec = dataclasses.field(default=SignalSpec(), kw_only=True, metadata=NOT_A_SETTING)

    @abstractmethod
    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> S:
        """The initial state, scaled to the recording; its random numbers come from the recording's stream."""

    @abstractmethod
    def variance(self, state: S) -> torch.Tensor:
        """Noise variance (B, N, F), at least numerics.VARIANCE_FLOOR."""

    @abstractmethod
    def update(
        self,
        state: S,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> S:
        """One M-step under weighted draws; it does not lower the expected log-likelihood."""

    def impulse_quantiles(self, count: int) -> Sequence[float]:
        """Equally probable values of the impulse variables under their prior, at most ``count``.

        [1] where there are none. The variance of a bin of which nothing but ``state`` is known is one of them
        times :meth:`variance_without_impulses`.
        """
        return [1.0]

    def variance_without_impulses(self, state: S) -> torch.Tensor:
        """Noise variance (B, N, F) with all impulse variables at 1."""
        return self.variance(state)

    def start_at(self, state: S, variance: torch.Tensor, mask: torch.Tensor) -> S:
        """``state``, fitted to a noise variance (B, N, F) that a noisy encoder proposes.

        This runs the model's own updates on the variance in place of the power, without speech. For an NMF they
        reduce the Itakura-Saito divergence between the variance and W H.
        """
        silence = variance.new_zeros(()).expand_as(variance).unsqueeze(1)
        log_weight = torch.zeros_like(mask).unsqueeze(1)
        for _ in range(FIT_UPDATES):
            state = self.update(state, variance, silence, log_weight, mask)
        return state

    def sample_auxiliary(
        self,
        state: S,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
        streams: Streams,
    ) -> S:
        """Draw the hidden variables of the noise, given the draws of the speech (if :attr:`auxiliary`)."""
        return state

    def factors(self, state: S) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Spectra W (B, K, F) and activations H (B, N, K) whose product is the scale, or None."""
        return None

    def with_known(self, dictionary: NoiseDictionary) -> NoiseModel[S]:
        """The same model with the spectra of ``dictionary`` held fixed.

        Raises UsageError where the model cannot hold spectra fixed.
        """
        raise UsageError(
            f"{type(self).__name__} cannot use spectra that are known beforehand",
            "choose the noise model dictionary",
        )

    def other_initialisations(self) -> Sequence[NoiseModel[S]]:
        """The same model with other initial spectra, which multistart tries (inference/multistart.py)."""
        return []

    @property
    def margin(self) -> float:
        """Nats by which an alternative must raise the log-likelihood of a frame in order to be chosen."""
        return 0.0

    def alternatives(self, state: S, power: torch.Tensor, mask: torch.Tensor) -> list[S]:
        """Initial states besides ``state``, to be compared frame by frame (if :attr:`has_alternatives`)."""
        return []

    def pick(self, states: Sequence[S], choice: torch.Tensor) -> S:
        """The state that equals ``states[choice[b, n]]`` in frame n of recording b; ``choice`` is (B, N)."""
        return states[0]

    @property
    def competes(self) -> bool:
        """Deprecated name of :attr:`has_alternatives`."""
        warn("NoiseModel.competes", "has_alternatives")
        return self.has_alternatives

    def rivals(self, state: S, power: torch.Tensor, mask: torch.Tensor) -> list[S]:
        """Deprecated name of :meth:`alternatives`."""
        warn("NoiseModel.rivals", "alternatives")
        return self.alternatives(state, power, mask)

    def elsewhere(self) -> Sequence[NoiseModel[S]]:
        """Deprecated name of :meth:`other_initialisations`."""
        warn("NoiseModel.elsewhere", "other_initialisations")
        return self.other_initialisations()


#: Noise models by name.
NOISES: Registry[type[NoiseModel[Any]]] = Registry("noise model")
