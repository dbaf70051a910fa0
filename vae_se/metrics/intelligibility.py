"""STOI and extended STOI by pystoi, without side effects on NumPy's global generator."""

from __future__ import annotations

import threading
import warnings

import numpy as np

from .base import CannotScore, Pair, metric

# pystoi's extended measure adds noise of 1e-16 from NumPy's global generator, whose state is restored
# afterwards.
_global_generator = threading.Lock()


def _stoi(pair: Pair, extended: bool) -> float:
    from pystoi import stoi as short_time_intelligibility

    if not pair.estimate.any():
        raise CannotScore("the estimate is silent")
    with _global_generator, warnings.catch_warnings():
        # For a file that is too short pystoi warns and returns 1e-5.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        before = np.random.get_state()  # noqa: NPY002 - pystoi draws from it
        np.random.seed(0)  # noqa: NPY002
        try:
            value = short_time_intelligibility(pair.reference, pair.estimate, pair.rate, extended=extended)
            return float(value)
        except (RuntimeWarning, IndexError, ValueError) as error:
            # For less than one frame pystoi raises an error from NumPy.
            if isinstance(error, RuntimeWarning) or pair.reference.size < pair.rate:
                raise CannotScore("too short for STOI: less than 30 frames (0.4 s) of active speech") from None
            raise
        finally:
            np.random.set_state(before)  # noqa: NPY002


@metric(
    "stoi",
    "0..1",
    "C. H. Taal, R. C. Hendriks, R. Heusdens, J. Jensen, An algorithm for intelligibility prediction of "
    "time-frequency weighted noisy speech, 2011",
    package="pystoi",
)
def stoi(pair: Pair) -> float:
    """Short-time objective intelligibility; any rate (pystoi resamples to 10 kHz itself)."""
    return _stoi(pair, extended=False)


@metric(
    "estoi",
    "0..1",
    "J. Jensen, C. H. Taal, An algorithm for predicting the intelligibility of speech masked by modulated "
    "noise maskers, 2016",
    package="pystoi",
)
def estoi(pair: Pair) -> float:
    """Extended STOI; any rate (pystoi resamples to 10 kHz itself). Deterministic."""
    return _stoi(pair, extended=True)
