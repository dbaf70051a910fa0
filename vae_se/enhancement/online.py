"""The facade for streams: any rate, any number of channels, blocks of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..audio.reader import LOUDEST, is_sound
from ..audio.resample import Resampler
from ..config import Config
from ..device import usual_torch
from ..errors import AudioError, UsageError
from ..threads import dividing_work
from .arrays import MOST_CHANNELS, checked_rate
from .enhancer import Enhancer
from .sliding_window import SlidingWindow, WindowFrames

#: Settings for streams. A frame takes part in EM as long as it is in the window, so a few iterations per window
#: are enough, with the larger steps of the noise's update.
SETTINGS = {"inference.iterations": 4, "inference.averaging": 2, "noise.exponent": 1.0}


class OnlineEnhancer:
    """Enhances a stream: ``push(samples)`` returns the speech that is complete, ``flush()`` the rest.

    ``enhancer``: prior and settings; :meth:`from_pretrained` makes one with the settings for streams. ``rate``
    in Hz and ``channels``: of the stream. ``block``: seconds that are enhanced at a time; EM runs on a window
    of the block, ``context`` seconds before it and ``lookahead`` seconds after it. ``level``: active level of
    the recording (RMS, full scale 1.0) where it is known; otherwise the running level. ``name`` selects the
    random streams. The output does not depend on how the stream is split into blocks, and is as long as the
    input. :attr:`latency` is its delay.

    Raises UsageError for invalid settings, and for settings that need the whole recording (baselines, a noise
    segment).
    """

    @usual_torch()
    def __init__(
        self,
        enhancer: Enhancer,
        rate: int,
        channels: int = 1,
        *,
        block: float = 0.25,
        lookahead: float = 0.25,
        context: float = 1.75,
        level: float | None = None,
        name: str = "",
    ) -> None:
        if enhancer.prior is None:
            raise UsageError(
                f"{enhancer.config.method} needs the whole recording", "stream with the method mcem"
            )
        if enhancer.config.noise.noise_segment:
            raise UsageError("a noise segment needs the whole recording", "leave --noise-from out")
        if not 1 <= channels <= MOST_CHANNELS:
            raise UsageError(f"a stream of {channels} channels", f"give 1 to {MOST_CHANNELS}")
        if level is not None and not 0 < level < float("inf"):
            raise UsageError(f"a level of {level}", "give an RMS above 0, full scale at 1.0")
        rate = checked_rate(rate, "the stream")
        self.enhancer, self.rate, self.channels = enhancer, rate, channels
        self._signal = enhancer.signal
        hops = self._signal.rate / self._signal.hop
        sizes = [round(seconds * hops) for seconds in (block, lookahead, context)]
        if sizes[0] < 1 or min(sizes) < 0:
            raise UsageError(
                f"a block of {block} s, a look-ahead of {lookahead} s, a context of {context} s",
                f"give a block of at least {1 / hops:g} s, and no negative length",
            )
        self._frames = WindowFrames(*sizes)
        self._windows = [
            SlidingWindow(
                enhancer.em, self._signal, enhancer.device, self._frames, enhancer.config.output,
                enhancer.config.seed, name, level,
            )
            for _ in range(channels)
        ]  # fmt: skip
        self._inward = Resampler(rate, self._signal.rate, channels, np.float32)
        self._outward = Resampler(self._signal.rate, rate, channels, np.float32)
        self._received = self._returned = 0
        self._finished = False

    @classmethod
    def from_pretrained(
        cls,
        rate: int,
        channels: int = 1,
        *,
        prior: str | Path | None = None,
        config: Config | None = None,
        device: str = "cpu",
        threads: int | None = None,
        **options: Any,
    ) -> OnlineEnhancer:
        """An enhancer of a stream of ``rate`` Hz, with a shipped prior (by name) or one of yours (by folder).

        ``config`` replaces the settings for streams; ``threads``: see :meth:`Enhancer.from_pretrained`;
        ``options`` are those of the constructor.
        """
        config = config or Config().override(SETTINGS)
        enhancer = Enhancer.from_pretrained(prior, config=config, device=device, threads=threads)
        return cls(enhancer, rate, channels, **options)

    @property
    def latency(self) -> float:
        """Largest delay of a sample in seconds: block, look-ahead and analysis window. Resampling adds 0.02 to
        0.1 s where the prior has another rate."""
        frames = self._frames.block + self._frames.lookahead
        return (frames * self._signal.hop + self._signal.window - self._signal.hop) / self._signal.rate

    @usual_torch()
    def push(self, samples: Any) -> np.ndarray:
        """Take the next samples, floating-point (T,) or (C, T), of any number; return the speech that is
        complete, with as many dimensions.

        Raises AudioError for samples that are not finite, UsageError for another type or number of channels,
        and after :meth:`flush`.
        """
        block, dimensions = np.atleast_2d(samples), np.ndim(samples)
        if self._finished:
            raise UsageError("the stream has ended", "make another OnlineEnhancer for another stream")
        if dimensions not in (1, 2) or len(block) != self.channels or block.dtype.kind != "f":
            turned = dimensions == 2 and block.shape[1] == self.channels
            raise UsageError(
                f"samples of type {block.dtype} and shape {np.shape(samples)}",
                f"{'transpose? ' if turned else ''}pass floating-point samples, ({self.channels}, T)",
            )
        if not is_sound(block):
            raise AudioError(
                f"samples of the stream are NaN, infinite or beyond {LOUDEST:g}", "repair its source"
            )
        self._received += block.shape[1]
        out = self._enhanced(self._inward.push(block.astype(np.float32)), last=False)
        return out[0] if dimensions == 1 else out

    @usual_torch()
    def flush(self) -> np.ndarray:
        """End the stream; the rest of the speech, (C, T)."""
        if self._finished:
            return np.zeros((self.channels, 0), np.float32)
        self._finished = True
        return self._enhanced(self._inward.finish(), last=True)

    def _enhanced(self, noisy: np.ndarray, last: bool) -> np.ndarray:
        """Push samples (C, T) at the prior's rate through the windows; the speech at the stream's rate."""
        with dividing_work(self.enhancer.threads):
            return self._through_windows(noisy, last)

    def _through_windows(self, noisy: np.ndarray, last: bool) -> np.ndarray:
        speech = [window.push(row) for window, row in zip(self._windows, noisy, strict=True)]
        if last:
            rest = [window.flush() for window in self._windows]
            speech = [np.concatenate(pair) for pair in zip(speech, rest, strict=True)]
        out = self._outward.push(np.stack(speech))
        if last:
            out = np.concatenate([out, self._outward.finish()], 1)
            # Resampling there and back may differ by a sample.
            missing = self._received - self._returned
            out = np.pad(out[:, :missing], [(0, 0), (0, max(0, missing - out.shape[1]))])
        self._returned += out.shape[1]
        return out
