"""A short-time Fourier transform at any rate whose frames lie where those of the prior's STFT lie in time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from ..signal_spec import SignalSpec

#: The window is a multiple of this many samples, so that its length has small prime factors at usual rates.
_UNIT = 64


@dataclasses.dataclass(frozen=True)
class AlignedSTFT:
    """Frames at ``rate`` Hz with the centres of the frames of ``signal``'s STFT, each to the nearest sample.

    The window is a sine window of unit energy, as in :class:`~vae_se.stft.STFT`, and of the same duration or
    up to :data:`_UNIT` samples shorter. At 48 kHz the windows of 1024 samples at 16 kHz have 3072 samples, a
    hop of 768. At 44.1 kHz they have 2816 samples and hops of 705 and 706. ``span_used``: part of every frame
    that the synthesis uses, in samples of ``signal``, at its end; None: all of it.

    >>> AlignedSTFT(SignalSpec(), 48000).window, AlignedSTFT(SignalSpec(), 44100).window
    (3072, 2816)
    >>> AlignedSTFT(SignalSpec(), 44100).starts(0, 3).tolist()
    [-2114, -1408, -702]
    """

    signal: SignalSpec
    rate: int
    span_used: int | None = None

    @property
    def window(self) -> int:
        """Length of the window in samples."""
        exact = self.signal.window * self.rate / self.signal.rate
        return max(_UNIT, math.floor(exact / _UNIT) * _UNIT)

    @property
    def bins(self) -> int:
        """F, the number of frequency bins."""
        return self.window // 2 + 1

    @property
    def frequencies(self) -> np.ndarray:
        """Frequency (F,) of each bin in Hz."""
        return np.arange(self.bins) * (self.rate / self.window)

    def starts(self, first: int, last: int) -> np.ndarray:
        """First sample of frames ``first`` to ``last``, below 0 in the first frames of a recording."""
        signal = self.signal
        centres = np.arange(first, last) * signal.hop + signal.hop - signal.window / 2
        return np.rint(centres * (self.rate / signal.rate)).astype(np.int64) - self.window // 2

    def span(self, first: int, last: int) -> tuple[int, int]:
        """First and last sample (exclusive) of frames ``first`` to ``last``."""
        starts = self.starts(first, last)
        return int(starts[0]), int(starts[-1]) + self.window

    def transform(self, samples: np.ndarray, first: int, last: int) -> torch.Tensor:
        """Complex spectra (N, F) of frames ``first`` to ``last``, from the ``samples`` (T,) of :meth:`span`."""
        starts = self.starts(first, last)
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.window)
        return torch.fft.rfft(torch.from_numpy(windows[starts - starts[0]] * self._taper()))

    @property
    def unused(self) -> int:
        """Samples at the beginning of every frame that the synthesis does not use."""
        used = self.signal.window if self.span_used is None else self.span_used
        return round(self.window * (1 - used / self.signal.window))

    def contribution(self, spectra: torch.Tensor, first: int, last: int) -> np.ndarray:
        """Contribution of frames ``first`` to ``last`` (N, F) to the samples of :meth:`span`.

        Synthesis divides by the sum of the squared windows of all frames: Griffin and Lim, Signal estimation
        from modified short-time Fourier transform, 1984. The waveform is the sum of the contributions. Of
        frames that are used in part, the rest of the window is faded in over a quarter of a hop.
        """
        starts, squared = self.starts(first, last), self._product()
        synthesis = squared / self._taper()
        frames = (torch.fft.irfft(spectra, n=self.window).cpu().numpy() * synthesis).astype(np.float32)
        out = np.zeros(int(starts[-1] - starts[0]) + self.window, np.float32)
        for start, frame in zip((starts - starts[0]).tolist(), frames, strict=True):
            out[start : start + self.window] += frame
        weight = self._weight(first, last, out.size)
        return np.divide(out, weight, out=np.zeros_like(out), where=weight > 0)

    def _weight(self, first: int, last: int, samples: int) -> np.ndarray:
        """Sum of the products of both windows over all frames, neighbours included, in the span of these."""
        reach = -(-self.signal.window // self.signal.hop) + 1
        starts = self.starts(first - reach, last + reach)
        offset = int(starts[reach])
        product, out = self._product(), np.zeros(samples, np.float32)
        for start in (starts - offset).tolist():
            low, high = max(0, start), min(samples, start + self.window)
            if low < high:
                out[low:high] += product[low - start : high - start]
        return out

    def _product(self) -> np.ndarray:
        """The product (window,) of analysis and synthesis window, before its sum over the frames is made 1."""
        product, unused = np.square(self._taper()), self.unused
        if unused:
            fade = max(1, round(self.signal.hop * self.rate / self.signal.rate / 4))
            product[:unused] = 0
            product[unused : unused + fade] *= np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2
        return product

    def _taper(self) -> np.ndarray:
        n = np.arange(self.window)
        taper = np.sin(np.pi * (n + 0.5) / self.window) * math.sqrt(2 / self.window)
        return np.asarray(taper, np.float32)
