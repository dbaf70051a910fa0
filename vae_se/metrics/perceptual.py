"""PESQ, wide-band and narrow-band: two different scales, hence two metrics."""

from __future__ import annotations

from typing import Literal

from .base import CannotScore, Pair, metric

_WIDE = 16000
_NARROW = 8000
_SECONDS = 0.25  # minimum duration of the reference program


def pesq(pair: Pair, mode: Literal["wb", "nb"], rate: int) -> float:
    """MOS-LQO of the reference program of ITU-T P.862 at ``rate`` Hz; computed once per pair.

    Raises CannotScore for a silent estimate, a file shorter than 0.25 s, or no speech in the reference.
    """
    return pair.once(("pesq", mode, rate), lambda: _pesq(pair.at(rate), mode))


def _pesq(pair: Pair, mode: Literal["wb", "nb"]) -> float:
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as reference_program

    if pair.reference.size < _SECONDS * pair.rate:
        raise CannotScore(f"PESQ needs {_SECONDS} s, the reference has {pair.reference.size / pair.rate:.3f} s")
    if not pair.estimate.any():
        raise CannotScore("the estimate is silent")
    try:
        return float(reference_program(pair.rate, pair.reference, pair.estimate, mode))
    except NoUtterancesError:
        raise CannotScore("PESQ finds no speech in the reference") from None
    except BufferTooShortError:
        raise CannotScore(f"PESQ needs {_SECONDS} s") from None


@metric("pesq_wb", "MOS-LQO 1.04..4.64", "ITU-T P.862.2 (2007)", package="pesq")
def pesq_wb(pair: Pair) -> float:
    """Wide-band PESQ at 16 kHz. Higher rates are resampled. Raises CannotScore for lower rates."""
    if pair.rate < _WIDE:
        raise CannotScore(f"wide-band PESQ needs a rate of 16000 Hz or more, this is {pair.rate} Hz")
    return pesq(pair, "wb", _WIDE)


@metric("pesq_nb", "MOS-LQO 1.02..4.55", "ITU-T P.862 (2001) mapped by P.862.1 (2003)", package="pesq")
def pesq_nb(pair: Pair) -> float:
    """Narrow-band PESQ: at 8 kHz for files below 16 kHz, otherwise at 16 kHz with the narrow-band filter.

    The two differ by the resampling only (some hundredths); a table should not mix them.
    """
    if pair.rate < _NARROW:
        raise CannotScore(f"PESQ needs a rate of 8000 Hz or more, this is {pair.rate} Hz")
    return pesq(pair, "nb", _NARROW if pair.rate < _WIDE else _WIDE)
