"""Change of sampling rate, with exact lengths."""

from __future__ import annotations

import numpy as np
import soxr


def resample(waveform: np.ndarray, rate_in: int, rate_out: int, samples: int | None = None) -> np.ndarray:
    """Resample the last axis of (T,) or (C, T) from ``rate_in`` to ``rate_out`` Hz.

    ``samples`` is the exact length of the result: soxr may be off by one when a file goes to another rate
    and back, so the result is cut or padded with zeros to it.
    """
    if rate_in == rate_out:
        out = waveform
    else:
        # soxr wants (T,) or (T, C).
        out = soxr.resample(np.ascontiguousarray(waveform.T), rate_in, rate_out, quality="HQ").T
    if samples is None or out.shape[-1] == samples:
        return out
    if out.shape[-1] > samples:
        return out[..., :samples]
    pad = [(0, 0)] * (out.ndim - 1) + [(0, samples - out.shape[-1])]
    return np.pad(out, pad)
