"""Scores by name: checks first, one NaN with its reason for whatever cannot be computed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from ..numerics import SILENCE_RMS
from .base import METRICS, CannotScore, Metric, Pair, Score


def score(
    names: Sequence[str],
    reference: np.ndarray,
    estimate: np.ndarray,
    rate: int,
    *,
    noisy: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    timeout: float | None = None,
) -> dict[str, Score]:
    """Score an estimate against its reference by the metrics in ``names``.

    ``reference`` and ``estimate`` are (T,), or (C, T), whose score is the mean over the channels.
    ``rate`` is in Hz. The noise that was added is ``noise``, or ``noisy - reference`` where only the mixture
    is given; SI-SIR and SI-SAR need it.

    A metric without a value for this pair gives NaN and a reason; nothing but an unknown name raises
    (:class:`~vae_se.errors.UsageError`). With a ``timeout`` in seconds the metrics run in a process of their
    own, so that a crash or a hang of a library is a reason as well; for many pairs use
    :class:`~vae_se.metrics.ScorePool`, which keeps its processes.
    """
    metrics = [METRICS[name] for name in names]
    if timeout is not None:
        from .pool import ScorePool

        with ScorePool(1, timeout=timeout) as pool:
            return pool.submit(names, reference, estimate, rate, noisy=noisy, noise=noise).result()
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
    """The same reason for every metric."""
    return {name: Score(math.nan, reason) for name in names}


def _one(metric: Metric, pair: Pair) -> Score:
    if metric.needs_noise and pair.noise is None:
        return Score(math.nan, "needs the noise that was added, or the noisy mixture")
    try:
        # Overflow and division warnings inside a library say nothing that the value does not say.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(metric.function(pair))
    except CannotScore as error:
        return Score(math.nan, str(error))
    except ImportError as error:
        package = metric.package or error.name or "a package"
        return Score(math.nan, f"{package} is not installed: pip install 'vae-se[metrics]'")
    except Exception as error:  # a library may raise anything; the row says what
        return Score(math.nan, f"{metric.name} raised {type(error).__name__}: {error}".rstrip(": "))
    return Score(value) if math.isfinite(value) else Score(math.nan, f"{metric.name} gave {value}")


def _pairs(
    reference: np.ndarray, estimate: np.ndarray, rate: int, noisy: np.ndarray | None, noise: np.ndarray | None
) -> list[Pair]:
    """One checked pair a channel; raises CannotScore."""
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
    """(C, T) float64, finite."""
    wave = np.asarray(array)
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "fiu":
        raise CannotScore(f"the {what} is no waveform: shape {wave.shape}, type {wave.dtype}")
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
