"""Means over files with bootstrap intervals, and paired differences between methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rng import numpy_stream
from .report import Results

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean, median and interval over ``n`` files with a value; ``failed`` files have none. NaN for small n."""

    n: int
    failed: int
    mean: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Change:
    """Method minus reference over the ``n`` files that both have: mean, interval, wins and losses.

    A win is a file on which the method is better, in the direction of the metric.
    """

    n: int
    mean: float
    low: float
    high: float
    wins: int
    losses: int


def interval(values: np.ndarray, *names: str | int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (n,); ``names`` name the random stream.

    The interval of -values is the mirror of that of values, exactly. NaN for fewer than two values. Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    if values.size < 2:
        return float("nan"), float("nan")
    drawn = numpy_stream(0, "bootstrap", *names).integers(0, values.size, (RESAMPLES, values.size))
    means = values[drawn].mean(axis=1)
    tail = (1 - LEVEL) / 2
    return float(np.quantile(means, tail)), -float(np.quantile(-means, tail))


def _finite(values: np.ndarray, metric: str, ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The finite values, and the names of their random stream: the metric and the files that have a value.

    So all methods are resampled alike: equal rows have equal intervals, and A against B mirrors B against A.
    """
    known = np.isfinite(values)
    return values[known], (metric, *(name for name, there in zip(ids, known, strict=True) if there))


def summarise(results: Results, method: str, metric: str, ids: Sequence[str] | None = None) -> Summary:
    """The summary over ``ids`` (default: all). Cells that were not run count as neither value nor failure."""
    chosen = sorted(results.ids if ids is None else ids)
    run = sum((name, method) in results.cells for name in chosen)
    values, names = _finite(results.values(method, metric, chosen), metric, chosen)
    if values.size == 0:
        nan = float("nan")
        return Summary(0, run, nan, nan, nan, nan)
    low, high = interval(values, *names)
    return Summary(values.size, run - values.size, float(values.mean()), float(np.median(values)), low, high)


def change(
    results: Results, method: str, against: str, metric: str, ids: Sequence[str] | None = None
) -> Change:
    """The paired difference over ``ids`` (default: all); files without both values are left out."""
    chosen = sorted(results.ids if ids is None else ids)
    difference = results.values(method, metric, chosen) - results.values(against, metric, chosen)
    difference, names = _finite(difference, metric, chosen)
    if difference.size == 0:
        nan = float("nan")
        return Change(0, nan, nan, nan, 0, 0)
    low, high = interval(difference, *names)
    sign = 1 if higher_is_better(metric) else -1
    return Change(
        n=difference.size,
        mean=float(difference.mean()),
        low=low,
        high=high,
        wins=int(np.sum(sign * difference > 0)),
        losses=int(np.sum(sign * difference < 0)),
    )


def higher_is_better(metric: str) -> bool:
    """Whether more is better; an unknown metric (of another version) counts as such."""
    return direction(metric) != "lower"


def direction(metric: str) -> str:
    """The direction in which a metric is better, higher or lower, or "" for a figure that has none."""
    from ..metrics import METRICS
    from .figures import FIGURES

    if metric in FIGURES:
        return FIGURES[metric].better
    return METRICS[metric].better if metric in METRICS else "higher"


def real_time_factor(results: Results, method: str) -> tuple[float, float]:
    """Processing time over duration: of all files together, and the median over files. NaN without timing."""
    rows = [row for (_, name), row in results.cells.items() if name == method and row["seconds"] is not None]
    if not rows:
        return float("nan"), float("nan")
    total = sum(row["seconds"] for row in rows) / sum(row["audio_seconds"] for row in rows)
    return total, float(np.median([row["rtf"] for row in rows]))
