"""One channel of a live stream at the prior's rate: samples in, speech out a few frames later."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..audio.running import RunningLevel
from ..config import OutputConfig
from ..errors import UsageError
from ..inference.monte_carlo_em import MonteCarloEM
from ..numerics import SILENCE_RMS
from ..signal_spec import SignalSpec
from .channel import power_of
from .high_band_stream import LowBandListener
from .live_em import LiveEM
from .live_frames import LiveFrames
from .residual_noise import RunningResidual

#: Least latency in seconds for the two-way noisy encoder, which needs a look-ahead.
TWO_WAY = 0.2

#: Most frames in a block, for calls and for latencies from TWO_WAY: a larger block costs less per second, and
#: leaves less of the latency.
MOST_BLOCK, MOST_BLOCK_TWO_WAY = 2, 4


@dataclasses.dataclass(frozen=True)
class LiveDelay:
    """How a latency is spent, in hops: a ``block`` of frames is processed at a time, ``lookahead`` frames
    after it have been received (a multiple of ``block``), and the synthesis window has ``span`` hops.

    >>> LiveDelay.within(0.064, SignalSpec())
    LiveDelay(block=2, lookahead=0, span=3)
    >>> LiveDelay.within(0.304, SignalSpec()).hops
    19
    """

    block: int
    lookahead: int
    span: int

    @property
    def hops(self) -> int:
        """Largest delay of a sample in hops: its block, the look-ahead, and the rest of the window."""
        return self.block - 1 + self.lookahead + self.span

    @classmethod
    def within(cls, latency: float, signal: SignalSpec) -> LiveDelay:
        """The delay of at most ``latency`` seconds. UsageError where it is below two hops."""
        hops = int(latency * signal.rate / signal.hop + 1e-6)
        if hops < 2:
            raise UsageError(
                f"a latency of {latency} s", f"give at least {2 * signal.hop / signal.rate:g} s, two frames"
            )
        block = min(MOST_BLOCK if latency < TWO_WAY else MOST_BLOCK_TWO_WAY, hops - 1)
        span = min(signal.window // signal.hop, hops - block + 1)
        lookahead = (hops - block + 1 - span) // block * block
        return cls(block, lookahead, span)


class LiveChannel:
    """Enhances the samples of one channel, block by block (:class:`LiveEM`).

    ``level``: active RMS of the recording; None for the running level of what has been received. ``listener``:
    is told what EM finds in every block, or None.
    """

    def __init__(
        self, em: MonteCarloEM, signal: SignalSpec, device: torch.device, delay: LiveDelay,
        output: OutputConfig, seed: int, name: str, level: float | None = None,
        listener: LowBandListener | None = None,
    ) -> None:  # fmt: skip
        self._signal, self._device, self._delay = signal, device, delay
        self._em = LiveEM(em, device, delay.block, delay.lookahead, seed, name)
        self._frames = LiveFrames(signal.stft, delay.block, delay.span * signal.hop, device)
        self._residual = RunningResidual(output, signal)
        self._level, self._meter, self._active_rms = level, RunningLevel(signal.rate), 0.0
        self._waiting = np.zeros(0, np.float32)  # less than a block of samples
        # Of frames that wait for their look-ahead.
        self._spectra = torch.zeros(0, signal.stft.bins, dtype=torch.complex64, device=device)
        # The first samples that come out lie in the zeros before the stream.
        self._skip = (delay.span - 1) * signal.hop
        self._left = 0  # samples received and not returned
        self._listener, self._done = listener, 0  # frames that are enhanced

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples (T,); return the speech that is complete, in order."""
        self._left += samples.size
        return self._taken(samples)

    def _taken(self, samples: np.ndarray, absent: int = 0) -> np.ndarray:
        """The speech that is complete with the next samples (T,), or zeros after the last one, of which the
        last ``absent`` frames hold nothing else."""
        waiting = np.concatenate([self._waiting, samples.astype(np.float32)])
        step = self._delay.block * self._signal.hop
        whole = waiting.size - waiting.size % step
        self._waiting = waiting[whole:]
        return self._returned(
            [
                self._next(waiting[start : start + step], absent if start + step == whole else 0)
                for start in range(0, whole, step)
            ]
        )

    def flush(self) -> np.ndarray:
        """The speech of all samples that remain.

        Frames that begin after the end do not exist, so the last ones have no look-ahead, as in a file.
        """
        block, hop = self._delay.block, self._signal.hop
        frames = -(-self._waiting.size // hop) + self._delay.span - 1
        blocks = -(-frames // block)
        zeros = np.zeros(blocks * block * hop - self._waiting.size, np.float32)
        parts = [self._taken(zeros, absent=blocks * block - frames)]
        while waiting := len(self._spectra):
            wiener = self._em.rest() if waiting <= self._em.waiting else None
            parts.append(self._returned([self._enhanced(wiener)]))
        return np.concatenate(parts)

    def _next(self, samples: np.ndarray, absent: int) -> np.ndarray:
        """Take one block of samples, whose last ``absent`` frames lie after the end; the samples that are
        complete, a block of them or none."""
        self._meter.push(samples)
        new = self._frames.analyse(samples)
        self._spectra = torch.cat([self._spectra, new])
        self._active_rms = self._level or self._meter.active_rms()
        wiener = None
        if self._active_rms >= SILENCE_RMS:
            wiener = self._em.next(power_of(new), self._active_rms / self._signal.active_rms, absent)
        waits = len(self._spectra) < self._delay.block + self._delay.lookahead
        return np.zeros(0, np.float32) if waits else self._enhanced(wiener)

    def _enhanced(self, wiener: torch.Tensor | None) -> np.ndarray:
        """The samples that are complete with the first block of the frames that wait, given their filter."""
        block = self._delay.block
        spectra, self._spectra = self._spectra[:block], self._spectra[block:]
        if self._listener is not None:
            frames = slice(self._done, self._done + block)
            self._listener.block(frames, None if wiener is None else self._em.found)
        self._done += block
        if wiener is not None:
            spectra = spectra * self._residual.applied(wiener, spectra, self._active_rms)
        return self._frames.synthesise(spectra)

    def _returned(self, speech: list[np.ndarray]) -> np.ndarray:
        """The part of blocks of ``speech`` that belongs to samples received."""
        out = np.concatenate([np.zeros(0, np.float32), *speech])
        skipped = min(self._skip, out.size)
        self._skip -= skipped
        out = out[skipped : skipped + self._left]
        self._left -= out.size
        return out
