"""Noise trackers: minimum statistics and the unbiased MMSE tracker estimate the noise power from noisy power.

They take power (N, F) in any unit and the hop in seconds, and return the noise power (N, F) in the same unit.
The smoothing constants of the papers are converted to that hop. The estimate scales with the input. Each
tracker is a recursion over frames, vectorised over bins. A third tracker, IMCRA, is in
:mod:`vae_se.baselines.imcra`.
"""

from __future__ import annotations

import math

import numpy as np

# Floor 90 dB below the mean power: digital silence would give 0/0 in the recursions.
_FLOOR = 1e-9
_TINY = 1e-100


def floored(power: np.ndarray) -> np.ndarray:
    """Power (N, F), at least 90 dB below its mean, so that digital silence has no zeros."""
    return np.maximum(power, max(_FLOOR * float(power.mean()), _TINY))


def smoothing(constant: float, hop_seconds: float, published_hop: float) -> float:
    """A recursive smoothing constant that was published for one hop, converted to ``hop_seconds``.

    >>> round(smoothing(0.64, hop_seconds=0.008, published_hop=0.016), 6)
    0.8
    """
    return constant ** (hop_seconds / published_hop)


def mmse_tracker(
    power: np.ndarray, hop_seconds: float = 0.008, *, start: np.ndarray | None = None
) -> np.ndarray:
    """Unbiased MMSE noise tracking by speech presence probability: (N, F) to (N, F).

    T. Gerkmann, R. C. Hendriks, Unbiased MMSE-based noise power estimation with low complexity and low
    tracking delay, 2012: speech presence probability with a fixed a priori SNR of 15 dB, smoothed to avoid
    stagnation, then the MMSE estimate of the noise periodogram and a recursive average. Departure: without
    ``start`` (F,), the estimate is initialised by a pass backwards through the first second, instead of the
    mean of the first frames, which may contain speech.
    """
    power = floored(power)
    if start is None:
        head = power[: max(1, round(1.0 / hop_seconds))]
        guess = np.quantile(head, 0.2, axis=0) / -math.log(0.8)  # quantile of an exponential distribution
        start = _mmse_pass(head[::-1], guess, hop_seconds)[-1]
    return _mmse_pass(power, start, hop_seconds)


def _mmse_pass(power: np.ndarray, noise: np.ndarray, hop_seconds: float) -> np.ndarray:
    snr = 10.0**1.5
    keep_noise = smoothing(0.8, hop_seconds, 0.016)
    keep_presence = smoothing(0.9, hop_seconds, 0.016)
    average = np.full(power.shape[1], 0.5)
    out = np.empty_like(power)
    for n, frame in enumerate(power):
        ratio = np.minimum(frame / noise, 200.0)
        presence = 1.0 / (1.0 + (1.0 + snr) * np.exp(-ratio * snr / (1.0 + snr)))
        average = keep_presence * average + (1.0 - keep_presence) * presence
        presence = np.where(average > 0.99, np.minimum(presence, 0.99), presence)
        periodogram = (1.0 - presence) * frame + presence * noise
        noise = keep_noise * noise + (1.0 - keep_noise) * periodogram
        out[n] = noise
    return out


# Mean of the minimum of D correlated values (Martin 2001, table of D and M).
_MEAN_D = (1, 2, 5, 8, 10, 15, 20, 30, 40, 60, 80, 120, 140, 160)
_MEAN_M = (0.0, 0.26, 0.48, 0.58, 0.61, 0.668, 0.705, 0.762, 0.8, 0.841, 0.865, 0.89, 0.9, 0.91)


def _minimum_bias(inverse_dof: np.ndarray, length: int) -> np.ndarray:
    """Ratio of the mean of ``length`` values to the mean of their minimum, per bin (F,)."""
    m = float(np.interp(length, _MEAN_D, _MEAN_M))
    dof = (1.0 / inverse_dof - 2.0 * m) / (1.0 - m)
    return 1.0 + (length - 1) * 2.0 / dof


def minimum_statistics(
    power: np.ndarray, hop_seconds: float = 0.008, *, window_seconds: float = 1.5, parts: int = 8
) -> np.ndarray:
    """Noise power by minimum statistics: (N, F) to (N, F).

    R. Martin, Noise power spectral density estimation based on optimal smoothing and minimum statistics,
    2001: optimal smoothing, bias of the minimum from the variance of the smoothed power, and a search window
    of ``window_seconds`` in ``parts`` parts with the rule for rising noise. Departure: the first part (0.2 s)
    takes the estimate at its end, as the processing of a file need not be causal.
    """
    power = floored(power)
    part = max(2, round(window_seconds / hop_seconds / parts))
    length = part * parts
    top = smoothing(0.96, hop_seconds, 0.016)
    bottom = smoothing(0.3, hop_seconds, 0.016)
    moments_cap = smoothing(0.8, hop_seconds, 0.016)
    correction_keep = smoothing(0.7, hop_seconds, 0.016)
    frame_limit = hop_seconds / 0.064  # decay of at most SNR^(-hop / 64 ms)

    smooth = power[:part].mean(axis=0)
    noise, minimum, first, second = smooth, smooth, smooth, np.square(smooth)
    correction = 1.0
    infinite = np.full(power.shape[1], np.inf)
    current, current_short = infinite, infinite
    stored = np.tile(infinite, (parts, 1))
    local = np.zeros(power.shape[1], dtype=bool)
    out = np.empty_like(power)
    for n, frame in enumerate(power):
        # Optimal smoothing, with the correction for the lag of the smoothed power.
        measured = 1.0 / (1.0 + (smooth.sum() / frame.sum() - 1.0) ** 2)
        correction = correction_keep * correction + (1.0 - correction_keep) * max(measured, 0.7)
        alpha = top * correction / (1.0 + (smooth / noise - 1.0) ** 2)
        alpha = np.maximum(alpha, min(bottom, (smooth.sum() / noise.sum()) ** -frame_limit))
        smooth = alpha * smooth + (1.0 - alpha) * frame

        beta = np.minimum(np.square(alpha), moments_cap)
        first = beta * first + (1.0 - beta) * smooth
        second = beta * second + (1.0 - beta) * np.square(smooth)
        inverse = np.clip((second - np.square(first)) / (2.0 * np.square(noise)), 1.0 / (14 * (n + 1)), 0.5)
        spread = float(inverse.mean())
        overall = 1.0 + 2.12 * math.sqrt(spread)
        candidate = smooth * overall * _minimum_bias(inverse, length)
        lower = candidate < current
        current = np.where(lower, candidate, current)
        current_short = np.where(lower, smooth * overall * _minimum_bias(inverse, part), current_short)

        position = n % part
        if position < part - 1:
            if position > 0:
                local |= lower
                minimum = np.minimum(minimum, current_short)
        else:
            stored = np.concatenate([current[None], stored[:-1]])
            minimum = stored.min(axis=0)
            # Rising noise: a local minimum inside the part that is not far above the old minimum.
            limit = 8.0 if spread < 0.03 else 4.0 if spread < 0.05 else 2.0 if spread < 0.06 else 1.2
            rising = local & ~lower & (current_short < limit * minimum) & (current_short > minimum)
            minimum = np.where(rising, current_short, minimum)
            stored = np.where(rising, current_short, stored)
            local = np.zeros_like(local)
            current, current_short = infinite, infinite
        noise = minimum
        out[n] = noise
    # Before the end of the first part the estimate would be the mean of the first frames, including speech.
    settled = min(part - 1, len(out) - 1)
    out[:settled] = out[settled]
    return out
