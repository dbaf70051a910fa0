"""SDR of BSS Eval: the reference may pass through any filter of 512 taps before it is compared."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import LinAlgError, solve, toeplitz

from .base import CannotScore, Pair, metric, ratio_db

TAPS = 512

# Diagonal loading relative to the power: band-limited speech makes the Toeplitz matrix all but singular.
# At -120 dB it moves no SDR below 60 dB by 0.01 dB.
_LOADING = 1e-12


@metric(
    "sdr",
    "dB",
    "E. Vincent, R. Gribonval, C. Fevotte, Performance measurement in blind audio source separation, 2006; "
    "F.-R. Stoeter, A. Liutkus, N. Ito, The 2018 signal separation evaluation campaign (BSS Eval v4)",
)
def sdr(pair: Pair) -> float:
    """SignalSpec-to-distortion ratio in dB of one source, over the whole file, filter of 512 taps.

    The estimate is projected on the reference and its 511 delays (Vincent et al. 2006, eq. 10 with one
    source); the normal equations are Toeplitz, with correlations by FFT (R. Scheibler, SDR - medium rare
    with fast computations, ICASSP 2022, section 3). SDR then is c / (1 - c) with the coherence
    c = b' R^-1 b / |y|^2. Departure from v4: one filter for the file, no frames, which for SDR is what
    mir_eval and fast_bss_eval do. Limited to +-100 dB.
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
