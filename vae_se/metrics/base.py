"""Metrics: functions of a checked pair of waveforms, registered with unit, direction and source."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from ..audio.resample import resample
from ..registry import Registry

T = TypeVar("T")

# Ratios are limited to +- this many dB: a perfect estimate would be +inf, and so would every mean over files.
DB_LIMIT = 100.0


class Score(NamedTuple):
    """A value, or NaN and the reason why the metric has no value."""

    value: float
    reason: str = ""


class CannotScore(Exception):
    """Raised by a metric that has no value for a pair; the message becomes the reason."""


@dataclasses.dataclass
class Pair:
    """A reference and an estimate, checked: float64 (T,), finite, of equal length, the reference not silent.

    ``noise`` (T,): the noise that was added to the reference, where it is known. Intermediate results that
    several metrics use (a resampled copy, a PESQ value) are cached.
    """

    reference: np.ndarray
    estimate: np.ndarray
    rate: int
    noise: np.ndarray | None = None
    _cache: dict[object, object] = dataclasses.field(default_factory=dict, repr=False)

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """The cached result of ``compute()`` under ``key``; an exception is cached and raised again."""
        if key not in self._cache:
            try:
                self._cache[key] = compute()
            except Exception as error:  # raised below, for this caller and later ones
                self._cache[key] = _Failure(error)
        value = self._cache[key]
        if isinstance(value, _Failure):
            raise value.error
        return value  # type: ignore[return-value]

    def at(self, rate: int) -> Pair:
        """The pair resampled to ``rate`` Hz."""
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
    """A named metric. ``function(pair)`` returns a float or raises :class:`CannotScore`.

    ``package``: the package that the metric needs beyond those that every metric needs, and the ``extra`` of
    vae-se that installs it. ``needs_reference``: false for a metric that looks at the estimate alone.
    ``listed``: false for a metric that is computed where it is asked for by name only.
    """

    name: str
    function: Callable[[Pair], float]
    unit: str
    source: str
    better: Literal["higher", "lower"] = "higher"
    needs_noise: bool = False
    package: str = ""
    extra: str = "metrics"
    needs_reference: bool = True
    listed: bool = True


METRICS: Registry[Metric] = Registry("metric")


def metric(
    name: str,
    unit: str,
    source: str,
    *,
    better: Literal["higher", "lower"] = "higher",
    needs_noise: bool = False,
    package: str = "",
    extra: str = "metrics",
    needs_reference: bool = True,
    listed: bool = True,
) -> Callable[[Callable[[Pair], float]], Callable[[Pair], float]]:
    """Decorator that registers a function of a :class:`Pair` as a metric."""

    def register(function: Callable[[Pair], float]) -> Callable[[Pair], float]:
        made = Metric(
            name, function, unit, source, better, needs_noise, package, extra, needs_reference, listed
        )
        METRICS.add(name)(made)
        return function

    return register


def ratio_db(signal: float, error: float) -> float:
    """10 log10(signal / error), limited to plus or minus :data:`DB_LIMIT`.

    >>> ratio_db(100.0, 1.0)
    20.0
    """
    if signal <= 0.0:
        return -DB_LIMIT
    if error <= 0.0:
        return DB_LIMIT
    return float(np.clip(10.0 * (np.log10(signal) - np.log10(error)), -DB_LIMIT, DB_LIMIT))


def frames(waveform: np.ndarray, length: int, hop: int, count: int | None = None) -> np.ndarray:
    """Whole overlapping frames (N, length) of (T,), at most ``count`` of them."""
    if waveform.size < length:
        raise CannotScore(f"the reference is too short: {waveform.size} samples, one frame has {length}")
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop][:count]
