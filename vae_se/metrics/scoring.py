"""Scoring in this process: checks of the input, then one score per metric, NaN with a reason on failure."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from ..numerics import SILENCE_RMS
from .base import METRICS, CannotScore, Metric, Pair, Score


def score_here(
    names: Sequence[str],
    reference: np.ndarray,
    estimate: np.ndarray,
    rate: int,
    *,
    noisy: np.ndarray | None = None,
    noise: np.ndarray | None = None,
) -> dict[str, Score]:
    """:func:`vae_se.metrics.score` without a timeout."""
    metrics = [METRICS[name] for name in names]
    try:
        pairs = _pairs(reference, estimate, rate, noisy, noise)
    except CannotScore as error:
        return refused(names, str(error))
    scores = {}
    for metric in metrics:
        channels = [_one(metric, pair) for pair in pairs]
        failed = [channel for channel in channels if channel.reason]
        scores[metric.name] = failed[0] if failed else Score(float(np.mean([c.value for c in channels])))
    return scores


def refused(names: Sequence[str], reason: str) -> dict[str, Score]:
    """NaN with the same reason for every metric.

    >>> refused(["stoi"], "the estimate is silent")
    {'stoi': Score(value=nan, reason='the estimate is silent')}
    """
    return {name: Score(math.nan, reason) for name in names}


def _one(metric: Metric, pair: Pair) -> Score:
    if metric.needs_noise and pair.noise is None:
        return Score(math.nan, "needs the noise that was added, or the noisy mixture")
    try:
        # Overflow and division warnings of a library show in its value, which is checked below.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(metric.function(pair))
    except CannotScore as error:
        return Score(math.nan, str(error))
    except ImportError as error:
        package = metric.package or error.name or "a package"
        return Score(math.nan, f"{package} is not installed: pip install 'vae-se[{metric.extra}]'")
    except Exception as error:  # a library may raise anything; the error becomes the reason
        return Score(math.nan, f"{metric.name} raised {type(error).__name__}: {error}".rstrip(": "))
    return Score(value) if math.isfinite(value) else Score(math.nan, f"{metric.name} gave {value}")


def _pairs(
    reference: np.ndarray, estimate: np.ndarray, rate: int, noisy: np.ndarray | None, noise: np.ndarray | None
) -> list[Pair]:
    """One checked pair per channel. Raises CannotScore for input that no metric can score."""
    if isinstance(rate, bool) or rate != rate or int(rate) != rate or rate <= 0:
        raise CannotScore(f"wrong rate: {rate!r} Hz")
    reference = _waveform("reference", reference)
    estimate = _waveform("estimate", estimate)
    _same_shape("estimate", estimate, reference)
    if noise is None and noisy is not None:
        mixture = _waveform("noisy", noisy)
        _same_shape("noisy", mixture, reference)
        noise = mixture - reference
    elif noise is not None:
        noise = _waveform("noise", noise)
        _same_shape("noise", noise, reference)
    pairs = []
    for channel in range(reference.shape[0]):
        rms = math.sqrt(float(np.mean(np.square(reference[channel]))))
        if rms < SILENCE_RMS:
            raise CannotScore(f"the reference is silent (RMS {rms:.1e})")
        known = None if noise is None else noise[channel]
        pairs.append(Pair(reference[channel], estimate[channel], int(rate), known))
    return pairs


def _waveform(what: str, array: np.ndarray) -> np.ndarray:
    """The waveform as finite float64 (C, T). Raises CannotScore for anything else."""
    wave = np.asarray(array)
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "fiu":
        raise CannotScore(f"the {what} is not a waveform: shape {wave.shape}, type {wave.dtype}")
    if wave.size == 0:
        raise CannotScore(f"the {what} is empty")
    if wave.dtype.kind in "iu":
        raise CannotScore(f"the {what} is {wave.dtype}, expected floats within -1..1")
    wave = np.atleast_2d(wave).astype(np.float64)
    bad = int(np.count_nonzero(~np.isfinite(wave)))
    if bad:
        raise CannotScore(f"the {what} has {bad} samples that are not finite")
    return wave


def _same_shape(what: str, wave: np.ndarray, reference: np.ndarray) -> None:
    if wave.shape[0] != reference.shape[0]:
        raise CannotScore(f"unequal channels: {what} {wave.shape[0]}, reference {reference.shape[0]}")
    if wave.shape[1] != reference.shape[1]:
        raise CannotScore(f"unequal lengths: {what} {wave.shape[1]}, reference {reference.shape[1]} samples")
