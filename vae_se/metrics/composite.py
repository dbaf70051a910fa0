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
_KEPT = 0.95  # the worst 5 % of the frames are left out of LLR and WSS


def _trimmed(values: np.ndarray) -> float:
    """Mean of the lowest 95 % of the frames' values (N,)."""
    ordered = np.sort(values)
    return float(np.mean(ordered[: max(1, round(_KEPT * ordered.size))]))


def parts(pair: Pair) -> tuple[float, float, float, float]:
    """(PESQ-wb, LLR, WSS, segmental SNR in dB) at 16 kHz, computed once a pair."""

    def compute() -> tuple[float, float, float, float]:
        quality = pesq_wb(pair)
        wide = pair.at(_RATE)
        # The offset keeps digital silence away from 0/0 (so do Loizou's programs).
        reference, estimate = wide.reference + EPS, wide.estimate + EPS
        llr = _trimmed(log_likelihood_ratio(reference, estimate, _RATE))
        wss = _trimmed(weighted_spectral_slope(reference, estimate, _RATE))
        return quality, llr, wss, segmental_snr(reference, estimate, _RATE)

    return pair.once("composite", compute)


def ratings(quality: float, llr: float, wss: float, snr: float) -> tuple[float, float, float]:
    """(CSIG, CBAK, COVL) from PESQ, LLR, WSS and segmental SNR in dB: the regressions, within 1..5."""
    signal = 3.093 - 1.029 * llr + 0.603 * quality - 0.009 * wss
    background = 1.634 + 0.478 * quality - 0.007 * wss + 0.063 * snr
    overall = 1.594 + 0.805 * quality - 0.512 * llr - 0.007 * wss
    low, middle, high = np.clip([signal, background, overall], 1.0, 5.0)
    return float(low), float(middle), float(high)


@metric("csig", "MOS 1..5", _SOURCE, package="pesq")
def csig(pair: Pair) -> float:
    """Predicted rating of signal distortion.

    The regression was fitted with narrow-band PESQ at 8 kHz; with the wide-band one it is the
    literature's convention rather than the paper's measure. The same holds for CBAK and COVL.
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
