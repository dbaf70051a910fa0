"""Scale-invariant ratios: SI-SDR, and SI-SIR and SI-SAR where the noise is known."""

from __future__ import annotations

import numpy as np

from .base import CannotScore, Pair, metric, ratio_db

_SOURCE = "J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, SDR - half-baked or well done?, ICASSP 2019"


def _target(pair: Pair) -> np.ndarray:
    """Orthogonal projection (T,) of the estimate on the reference: the scaled reference."""
    s, y = pair.reference, pair.estimate
    if not np.any(y):
        raise CannotScore("the estimate is silent")
    return (np.dot(y, s) / np.dot(s, s)) * s


def _interference(pair: Pair) -> np.ndarray:
    """Projection (T,) of the estimate on the part of the noise that is orthogonal to the reference."""
    s, y, noise = pair.reference, pair.estimate, pair.noise
    assert noise is not None  # guaranteed by Metric.needs_noise
    rest = noise - (np.dot(noise, s) / np.dot(s, s)) * s
    energy = np.dot(rest, rest)
    if energy <= 1e-20 * np.dot(s, s):
        raise CannotScore("the noise is silent, or a multiple of the reference")
    return (np.dot(y, rest) / energy) * rest


def _energy(x: np.ndarray) -> float:
    return float(np.dot(x, x))


@metric("si_sdr", "dB", _SOURCE)
def si_sdr(pair: Pair) -> float:
    """Scale-invariant signal-to-distortion ratio in dB.

    The mean is not removed, as in the authors' code and in common libraries. Limited to +-100 dB.
    """
    target = _target(pair)
    return ratio_db(_energy(target), _energy(pair.estimate - target))


@metric("si_sir", "dB", _SOURCE, needs_noise=True)
def si_sir(pair: Pair) -> float:
    """Scale-invariant signal-to-interference ratio in dB: scaled reference over residual noise."""
    return ratio_db(_energy(_target(pair)), _energy(_interference(pair)))


@metric("si_sar", "dB", _SOURCE, needs_noise=True)
def si_sar(pair: Pair) -> float:
    """Scale-invariant signal-to-artefact ratio in dB: scaled reference over the remaining error.

    10^(-SI-SDR/10) = 10^(-SI-SIR/10) + 10^(-SI-SAR/10), because the parts are orthogonal.
    """
    target = _target(pair)
    artefacts = pair.estimate - target - _interference(pair)
    return ratio_db(_energy(target), _energy(artefacts))
