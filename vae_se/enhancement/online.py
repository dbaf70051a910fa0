"""The facade of streaming: any rate, any channels, parts of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..audio.reader import LOUDEST, is_sound
from ..audio.resample import Resampler, check_rate
from ..config import Config
from ..errors import AudioError, UsageError
from .enhancer import Enhancer
from .sliding_window import Frames, SlidingWindow

#: Each is enhanced by itself, and a damaged header may ask for thousands.
MOST_CHANNELS = 64

#: What a stream differs in from a recording: a block is seen again and again while it is in the window, so few
#: iterations do each time, with the long steps of the noise's updates.
SETTINGS = {"inference.iterations": 4, "inference.averaging": 2, "noise.exponent": 1.0}


class OnlineEnhancer:
    """Enhances a stream as it comes: ``push(samples)`` gives the speech that is ready, ``flush()`` the rest.

    ``enhancer``: a prior and settings; :meth:`from_pretrained` makes one that is meant for this.
    ``rate`` in Hz and ``channels`` are those of the stream. In seconds: ``block`` is enhanced at a time,
    ``lookahead`` is heard after it, and ``context`` before it. ``level``: the active level (RMS, full scale
    1.0) of the recording where it is known; otherwise the running one. The output does not depend on how
    the stream is cut into parts, and is as long as the input. :attr:`latency` says how far it lags behind.

    Raises UsageError for settings that cannot be meant, or that need the whole recording (baselines, a
    noise segment).
    """

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
            raise UsageError(f"{enhancer.config.method} hears whole recordings", "stream with the method mcem")
        if enhancer.config.noise.noise_segment:
            raise UsageError("a noise segment is learnt from a whole recording", "leave --noise-from out")
        if not 1 <= channels <= MOST_CHANNELS:
            raise UsageError(f"a stream of {channels} channels", f"it has 1 to {MOST_CHANNELS}")
        if level is not None and not 0 < level < float("inf"):
            raise UsageError(f"a level of {level}", "give an RMS above 0, full scale at 1.0")
        check_rate(rate, "the stream")
        self.enhancer, self.rate, self.channels = enhancer, rate, channels
        self._signal = enhancer.prior.signal
        hops = self._signal.rate / self._signal.hop
        sizes = [round(seconds * hops) for seconds in (block, lookahead, context)]
        if sizes[0] < 1 or min(sizes) < 0:
            raise UsageError(
                f"a block of {block} s, {lookahead} s ahead, {context} s before",
                f"a block has at least {1 / hops:g} s, the others are not negative",
            )
        self._frames = Frames(*sizes)
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
        **options: Any,
    ) -> OnlineEnhancer:
        """For a stream of ``rate`` Hz, with a shipped prior (by name) or one of yours (by folder).

        ``config`` replaces the settings; ``options`` are those of the constructor.
        """
        config = config or Config().override(SETTINGS)
        return cls(Enhancer.from_pretrained(prior, config=config, device=device), rate, channels, **options)

    @property
    def latency(self) -> float:
        """Seconds from a sample's coming to its leaving, at most: block, look-ahead and analysis window.
        Where the prior has another rate, the two resampling filters add 0.02 to 0.1 s."""
        frames = self._frames.block + self._frames.lookahead
        return (frames * self._signal.hop + self._signal.window - self._signal.hop) / self._signal.rate

    def push(self, samples: Any) -> np.ndarray:
        """The next samples, (T,) or (C, T), of floating point, any number of them; what is ready, in the
        same shape.

        Raises AudioError for samples that are not finite, UsageError for another type, number of channels,
        or after the end.
        """
        part, shape = np.atleast_2d(samples), np.ndim(samples)
        if self._finished:
            raise UsageError("the stream has ended", "make another OnlineEnhancer for another stream")
        if shape not in (1, 2) or len(part) != self.channels or part.dtype.kind != "f":
            raise UsageError(
                f"samples of type {part.dtype} and shape {np.shape(samples)}",
                f"pass floating-point samples, ({self.channels}, T)",
            )
        if not is_sound(part):
            raise AudioError(
                f"samples of the stream are NaN, infinite or beyond {LOUDEST:g}", "repair its source"
            )
        self._received += part.shape[1]
        out = self._send(self._inward.push(part.astype(np.float32)), last=False)
        return out[0] if shape == 1 else out

    def flush(self) -> np.ndarray:
        """The rest of the speech, (C, T), after the last sample."""
        if self._finished:
            return np.zeros((self.channels, 0), np.float32)
        self._finished = True
        return self._send(self._inward.finish(), last=True)

    def _send(self, parts: np.ndarray, last: bool) -> np.ndarray:
        found = [window.push(part) for window, part in zip(self._windows, parts, strict=True)]
        if last:
            found = [
                np.concatenate([a, window.flush()]) for a, window in zip(found, self._windows, strict=True)
            ]
        out = self._outward.push(np.stack(found))
        if last:
            out = np.concatenate([out, self._outward.finish()], 1)
            # Resampling there and back may be off by a sample.
            wanted = self._received - self._returned
            out = np.pad(out[:, :wanted], [(0, 0), (0, max(0, wanted - out.shape[1]))])
        self._returned += out.shape[1]
        return out
