"""What a metric is: a function of a checked pair of waveforms, with its unit, its direction and its source."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from ..audio.resample import resample
from ..registry import Registry

T = TypeVar("T")

# Ratios in dB are reported within this range: a perfect estimate is +inf, which no mean survives.
DB_LIMIT = 100.0


class Score(NamedTuple):
    """A value, or NaN and the reason why there is none."""

    value: float
    reason: str = ""


class CannotScore(Exception):
    """Raised by a metric that has no value for this pair; its text becomes the reason."""


@dataclasses.dataclass
class Pair:
    """One reference and one estimate, checked: (T,) float64 each, finite, equally long, reference audible.

    ``noise`` (T,) is what was added to the reference, where that is known. What several metrics need
    (a resampled copy, a PESQ value) is computed once.
    """

    reference: np.ndarray
    estimate: np.ndarray
    rate: int
    noise: np.ndarray | None = None
    _memory: dict[object, object] = dataclasses.field(default_factory=dict, repr=False)

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """``compute()``, remembered under ``key``; a failure is remembered too."""
        if key not in self._memory:
            try:
                self._memory[key] = compute()
            except Exception as error:  # re-raised below, for every caller alike
                self._memory[key] = _Failure(error)
        value = self._memory[key]
        if isinstance(value, _Failure):
            raise value.error
        return value  # type: ignore[return-value]

    def at(self, rate: int) -> Pair:
        """The pair at another sampling rate in Hz."""
        if rate == self.rate:
            return self
        return self.once(("at", rate), functools.partial(self._resampled, rate))

    def _resampled(self, rate: int) -> Pair:
        reference = resample(self.reference, self.rate, rate)
        estimate = resample(self.estimate, self.rate, rate)
        noise = None if self.noise is None else resample(self.noise, self.rate, rate)
        return Pair(reference, estimate, rate, noise)


@dataclasses.dataclass(frozen=True)
class _Failure:
    error: Exception


@dataclasses.dataclass(frozen=True)
class Metric:
    """A named metric. ``function(pair)`` returns a float or raises :class:`CannotScore`."""

    name: str
    function: Callable[[Pair], float]
    unit: str
    source: str
    better: Literal["higher", "lower"] = "higher"
    needs_noise: bool = False
    package: str = ""  # what to install where it is not part of the core


METRICS: Registry[Metric] = Registry("metric")


def metric(
    name: str,
    unit: str,
    source: str,
    *,
    better: Literal["higher", "lower"] = "higher",
    needs_noise: bool = False,
    package: str = "",
) -> Callable[[Callable[[Pair], float]], Callable[[Pair], float]]:
    """Decorator that registers a function of a :class:`Pair` as a metric."""

    def register(function: Callable[[Pair], float]) -> Callable[[Pair], float]:
        METRICS.add(name)(Metric(name, function, unit, source, better, needs_noise, package))
        return function

    return register


def ratio_db(signal: float, error: float) -> float:
    """10 log10(signal / error) within plus or minus :data:`DB_LIMIT`."""
    if signal <= 0.0:
        return -DB_LIMIT
    if error <= 0.0:
        return DB_LIMIT
    return float(np.clip(10.0 * (np.log10(signal) - np.log10(error)), -DB_LIMIT, DB_LIMIT))


def frames(waveform: np.ndarray, length: int, hop: int, count: int | None = None) -> np.ndarray:
    """Overlapping frames (N, length) of (T,); only whole ones, at most ``count`` of them."""
    if waveform.size < length:
        raise CannotScore(f"the reference is too short: {waveform.size} samples, one frame has {length}")
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop][:count]
