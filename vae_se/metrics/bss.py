"""SDR of BSS Eval, which ignores any filter of 512 taps between reference and estimate."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import LinAlgError, solve, toeplitz

from .base import CannotScore, Pair, metric, ratio_db

TAPS = 512

# Diagonal loading relative to the power, because band-limited speech makes the Toeplitz matrix nearly singular.
# At -120 dB it changes SDRs below 60 dB by less than 0.01 dB.
_LOADING = 1e-12


@metric(
    "sdr",
    "dB",
    "E. Vincent, R. Gribonval, C. Fevotte, Performance measurement in blind audio source separation, 2006; "
    "F.-R. Stoeter, A. Liutkus, N. Ito, The 2018 signal separation evaluation campaign (BSS Eval v4)",
)
def sdr(pair: Pair) -> float:
    """Signal-to-distortion ratio in dB of one source, over the whole file, with a filter of 512 taps.

    The estimate is projected on the reference and its 511 delays (Vincent et al. 2006). The normal equations
    are Toeplitz, with correlations by FFT (R. Scheibler, SDR - medium rare with fast computations, ICASSP
    2022). The SDR is c / (1 - c) with the coherence c = b' R^-1 b / |y|^2. Departure from v4: one filter for
    the file instead of one per frame, as in mir_eval and fast_bss_eval. Limited to +-100 dB.
    """
    s, y = pair.reference, pair.estimate
    if not np.any(y):
        raise CannotScore("the estimate is silent")
    if s.size < TAPS:
        raise CannotScore(f"the reference is too short: {s.size} samples, the filter has {TAPS}")
    s, y = s / np.linalg.norm(s), y / np.linalg.norm(y)
    size = next_fast_len(s.size + TAPS, real=True)
    s_spectrum = rfft(s, size)
    auto = irfft(np.abs(s_spectrum) ** 2, size)[:TAPS]
    cross = irfft(s_spectrum.conj() * rfft(y, size), size)[:TAPS]
    auto[0] *= 1.0 + _LOADING
    matrix = toeplitz(auto)
    try:
        taps = solve(matrix, cross, assume_a="pos")
    except LinAlgError:
        taps = np.linalg.lstsq(matrix, cross, rcond=None)[0]
    coherence = float(np.dot(cross, taps))
    return ratio_db(coherence, 1.0 - coherence)
