"""DNSMOS P.835: a network predicts what listeners would say, without a reference; by the package speechmos.

Reddy, Gopal and Cutler, DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate
noise suppressors, ICASSP 2022. The package holds Microsoft's weights. Its program loops for ever on an empty
recording, raises on samples beyond full scale, and rates silence as fair speech: such recordings have no score
here.
"""

from __future__ import annotations

import numpy as np

from ..audio.resample import resample
from ..numerics import SILENCE_RMS
from .base import CannotScore, Pair, metric

_RATE = 16000
_SECONDS = 0.25  # below this, the program would repeat the recording dozens of times
_SOURCE = "C. K. A. Reddy, V. Gopal, R. Cutler, DNSMOS P.835, ICASSP 2022"
_UNIT = "MOS 1..5"

#: The scores, and their names in speechmos: overall, speech, background (P.835), and overall by P.808.
NAMES = {
    "dnsmos": "ovrl_mos",
    "dnsmos_sig": "sig_mos",
    "dnsmos_bak": "bak_mos",
    "dnsmos_p808": "p808_mos",
}


def dnsmos_scores(waveform: np.ndarray, rate: int) -> dict[str, float]:
    """The scores of a recording (T,), full scale 1.0, at ``rate`` Hz, by the names of :data:`NAMES`.

    The recording is resampled to 16 kHz, and limited to full scale, as it would be in a file. Raises
    CannotScore for a recording that is shorter than 0.25 s, silent or not finite, ImportError without
    speechmos.
    """
    if waveform.ndim != 1 or waveform.size < _SECONDS * rate:
        raise CannotScore(f"DNSMOS needs {_SECONDS} s of one channel, this is {waveform.size / rate:.3f} s")
    if not np.isfinite(waveform).all():
        raise CannotScore("the recording has samples that are not finite")
    if np.sqrt(np.mean(np.square(waveform))) < SILENCE_RMS:
        raise CannotScore("the estimate is silent")
    from speechmos import dnsmos

    limited = np.clip(resample(waveform, rate, _RATE), -1.0, 1.0)
    found = dnsmos.run(limited, sr=_RATE, return_df=False, verbose=False)
    return {name: float(found[theirs]) for name, theirs in NAMES.items()}


def _score(pair: Pair, name: str) -> float:
    return pair.once("dnsmos", lambda: dnsmos_scores(pair.estimate, pair.rate))[name]


@metric("dnsmos", _UNIT, _SOURCE, package="speechmos", extra="dnsmos", needs_reference=False)
def dnsmos(pair: Pair) -> float:
    """Overall quality (P.835 OVRL). See :func:`dnsmos_scores`."""
    return _score(pair, "dnsmos")


@metric("dnsmos_sig", _UNIT, _SOURCE, package="speechmos", extra="dnsmos", needs_reference=False)
def dnsmos_sig(pair: Pair) -> float:
    """Quality of the speech (P.835 SIG). See :func:`dnsmos_scores`."""
    return _score(pair, "dnsmos_sig")


@metric("dnsmos_bak", _UNIT, _SOURCE, package="speechmos", extra="dnsmos", needs_reference=False)
def dnsmos_bak(pair: Pair) -> float:
    """Quality of the background: high where no noise is left (P.835 BAK). See :func:`dnsmos_scores`."""
    return _score(pair, "dnsmos_bak")


@metric("dnsmos_p808", _UNIT, _SOURCE, package="speechmos", extra="dnsmos", needs_reference=False)
def dnsmos_p808(pair: Pair) -> float:
    """Overall quality (P.808). See :func:`dnsmos_scores`."""
    return _score(pair, "dnsmos_p808")
