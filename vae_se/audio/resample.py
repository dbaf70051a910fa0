"""Resampling, with exact lengths."""

from __future__ import annotations

import numpy as np
import soxr

from ..errors import AudioError

#: Range of sampling rates in Hz. Others come from damaged headers and could take any amount of memory.
RATES = (1000, 1_000_000)


def check_rate(rate: int, label: str = "the recording") -> None:
    """Raise AudioError unless ``rate`` in Hz lies in :data:`RATES`."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(
            f"{label} has a rate of {rate} Hz", f"rates are {RATES[0]} to {RATES[1]} Hz: is the header damaged?"
        )


class Resampler:
    """Resamples (C, T) block by block, with the same result as :func:`resample` to the last bit.

    The filter looks ahead, so the output of :meth:`push` is delayed, and :meth:`finish` returns the rest. If
    ``samples`` is given, the total is cut or padded with zeros to this length.
    """

    def __init__(
        self, rate_in: int, rate_out: int, channels: int, dtype: np.typing.DTypeLike, samples: int | None = None
    ) -> None:
        self._channels, self._dtype, self._left = channels, np.dtype(dtype), samples
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype=self._dtype, quality="HQ")

    def push(self, part: np.ndarray) -> np.ndarray:
        """Take the next samples (C, T); return the output that is complete."""
        return self._count(self._next(part, last=False))

    def finish(self) -> np.ndarray:
        """The rest of the output, (C, T)."""
        out = self._count(self._next(np.zeros((self._channels, 0), self._dtype), last=True))
        if self._left:
            out = np.pad(out, [(0, 0), (0, self._left)])
        return out

    def _next(self, part: np.ndarray, last: bool) -> np.ndarray:
        if self._stream is None:
            return part
        # soxr expects (T, C).
        out = self._stream.resample_chunk(np.ascontiguousarray(part.T, self._dtype), last=last)
        return np.ascontiguousarray(out.T)

    def _count(self, out: np.ndarray) -> np.ndarray:
        if self._left is None:
            return out
        out = out[:, : self._left]
        self._left -= out.shape[1]
        return out


def resample(waveform: np.ndarray, rate_in: int, rate_out: int, samples: int | None = None) -> np.ndarray:
    """Resample the last axis of (T,) or (C, T) from ``rate_in`` to ``rate_out`` Hz.

    If ``samples`` is given, the result is cut or padded with zeros to this length: resampling to another rate
    and back may change the length by one sample.
    """
    if rate_in == rate_out:
        out = waveform
    else:
        # soxr expects (T,) or (T, C).
        out = soxr.resample(np.ascontiguousarray(waveform.T), rate_in, rate_out, quality="HQ").T
    if samples is None or out.shape[-1] == samples:
        return out
    if out.shape[-1] > samples:
        return out[..., :samples]
    pad = [(0, 0)] * (out.ndim - 1) + [(0, samples - out.shape[-1])]
    return np.pad(out, pad)
