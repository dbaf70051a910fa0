"""CSIG, CBAK and COVL: predicted ratings of signal, background and overall quality."""

from __future__ import annotations

import numpy as np

from .base import Pair, metric
from .llr import log_likelihood_ratio
from .perceptual import pesq_wb
from .segmental import EPS, segmental_snr
from .wss import weighted_spectral_slope

_SOURCE = (
    "Y. Hu, P. C. Loizou, Evaluation of objective quality measures for speech enhancement, 2008, Table VII; "
    "PESQ is the wide-band one at 16 kHz, as in the VoiceBank-DEMAND literature"
)
_RATE = 16000
_KEPT = 0.95  # LLR and WSS omit the worst 5 % of the frames


def _trimmed(values: np.ndarray) -> float:
    """Mean of the lowest 95 % of the values (N,) of the frames."""
    ordered = np.sort(values)
    return float(np.mean(ordered[: max(1, round(_KEPT * ordered.size))]))


def parts(pair: Pair) -> tuple[float, float, float, float]:
    """(wide-band PESQ, LLR, WSS, segmental SNR in dB) at 16 kHz, computed once per pair."""

    def compute() -> tuple[float, float, float, float]:
        quality = pesq_wb(pair)
        wide = pair.at(_RATE)
        # The offset avoids 0/0 in digital silence, as in Loizou's programs.
        reference, estimate = wide.reference + EPS, wide.estimate + EPS
        llr = _trimmed(log_likelihood_ratio(reference, estimate, _RATE))
        wss = _trimmed(weighted_spectral_slope(reference, estimate, _RATE))
        return quality, llr, wss, segmental_snr(reference, estimate, _RATE)

    return pair.once("composite", compute)


def ratings(quality: float, llr: float, wss: float, snr: float) -> tuple[float, float, float]:
    """(CSIG, CBAK, COVL) by linear regression from PESQ, LLR, WSS and segmental SNR in dB, limited to 1..5.

    >>> [round(rating, 1) for rating in ratings(quality=2.0, llr=0.5, wss=30.0, snr=5.0)]
    [3.5, 2.7, 2.7]
    """
    signal = 3.093 - 1.029 * llr + 0.603 * quality - 0.009 * wss
    background = 1.634 + 0.478 * quality - 0.007 * wss + 0.063 * snr
    overall = 1.594 + 0.805 * quality - 0.512 * llr - 0.007 * wss
    low, middle, high = np.clip([signal, background, overall], 1.0, 5.0)
    return float(low), float(middle), float(high)


@metric("csig", "MOS 1..5", _SOURCE, package="pesq")
def csig(pair: Pair) -> float:
    """Predicted rating of signal distortion.

    The regression was fitted to narrow-band PESQ at 8 kHz. Its use with wide-band PESQ is a convention of the
    literature, not the measure of the paper. The same holds for CBAK and COVL.
    """
    return ratings(*parts(pair))[0]


@metric("cbak", "MOS 1..5", _SOURCE, package="pesq")
def cbak(pair: Pair) -> float:
    """Predicted rating of background intrusiveness."""
    return ratings(*parts(pair))[1]


@metric("covl", "MOS 1..5", _SOURCE, package="pesq")
def covl(pair: Pair) -> float:
    """Predicted rating of overall quality."""
    return ratings(*parts(pair))[2]
