"""Improved minima-controlled recursive averaging (IMCRA): a noise tracker with speech presence probability."""

from __future__ import annotations

import numpy as np

from ..noise.tracking import floored, smoothing
from .gains import conditional_presence, decision_directed, log_mmse_gain

_BIAS = 1.66  # B_min: bias of the minimum
_GAMMA_0, _GAMMA_1, _ZETA_0 = 4.6, 3.0, 1.67  # thresholds of speech presence
_COMPENSATION = 1.47  # beta: compensates the bias of an overestimated a priori presence
_CERTAIN = 1.0 - 1e-6


def _across(values: np.ndarray) -> np.ndarray:
    """Smoothing over three neighbouring bins (F,) with Hann weights; edge bins are repeated."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


class _Minimum:
    """Running minimum over a window of ``parts`` parts of ``part`` frames."""

    def __init__(self, start: np.ndarray, part: int, parts: int) -> None:
        self.value, self._current, self._part = start, start, part
        self._stored = np.tile(start, (parts, 1))

    def update(self, values: np.ndarray, n: int) -> np.ndarray:
        self.value = np.minimum(self.value, values)
        self._current = np.minimum(self._current, values)
        if n % self._part == self._part - 1:
            self._stored = np.concatenate([self._current[None], self._stored[:-1]])
            self.value = self._stored.min(axis=0)
            self._current = values
        return self.value


def imcra(power: np.ndarray, hop_seconds: float = 0.008, *, parts: int = 8) -> np.ndarray:
    """Noise power by IMCRA: (N, F) to (N, F), same unit.

    I. Cohen, Noise spectrum estimation in adverse environments: improved minima controlled recursive
    averaging, 2003: two rounds of smoothing and minimum tracking, the second without the bins that the first
    classifies as speech, then a recursive average controlled by the conditional speech presence. As in the
    paper, the estimate of a frame averages over the frames before it. Constants of the paper. Departure: the
    averages start at the mean of the first 10 frames instead of the first frame.
    """
    power = floored(power)
    keep_smooth = smoothing(0.9, hop_seconds, 0.008)
    keep_noise = smoothing(0.85, hop_seconds, 0.008)
    keep_prior = smoothing(0.92, hop_seconds, 0.008)
    part = max(2, round(15 * 0.008 / hop_seconds))

    start = power[:10].mean(axis=0)
    average = noise = start
    smooth = smooth_absent = _across(start)
    minimum, minimum_absent = _Minimum(smooth, part, parts), _Minimum(smooth, part, parts)
    amplitude = np.zeros_like(start)  # speech power of the previous frame over its noise power
    out = np.empty_like(power)
    for n, frame in enumerate(power):
        out[n] = noise
        posterior = frame / noise
        prior = decision_directed(amplitude, posterior, keep_prior)

        smooth = keep_smooth * smooth + (1.0 - keep_smooth) * _across(frame)
        low = _BIAS * minimum.update(smooth, n)
        absent = (frame < _GAMMA_0 * low) & (smooth < _ZETA_0 * low)

        # Second round: only bins without speech, weighted over the remaining neighbours.
        weight = _across(absent.astype(np.float64))
        local = np.where(weight > 0.0, _across(absent * frame) / np.maximum(weight, 1e-12), smooth_absent)
        smooth_absent = keep_smooth * smooth_absent + (1.0 - keep_smooth) * local
        low = _BIAS * minimum_absent.update(smooth_absent, n)
        gamma, zeta = frame / low, smooth / low
        absence = np.clip((_GAMMA_1 - gamma) / (_GAMMA_1 - 1.0), 0.0, 1.0)
        absence = np.where(zeta < _ZETA_0, absence, 0.0)

        presence = conditional_presence(prior, posterior, np.minimum(absence, _CERTAIN))
        amplitude = np.square(log_mmse_gain(prior, posterior)) * posterior
        keep = keep_noise + (1.0 - keep_noise) * presence
        average = keep * average + (1.0 - keep) * frame
        noise = _COMPENSATION * average
    return out
