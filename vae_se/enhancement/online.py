"""Streams in overlapping windows: any rate, any number of channels, blocks of any size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..device import usual_torch
from ..errors import UsageError
from .enhancer import Enhancer
from .sliding_window import SlidingWindow, WindowFrames
from .stream import Stream


class OnlineEnhancer(Stream):
    """Enhances a stream: ``push(samples)`` returns the speech that is complete, ``flush()`` the rest.

    ``enhancer``: prior and settings; :meth:`from_pretrained` makes one with the settings for streams. ``rate``
    in Hz and ``channels``: of the stream. ``block``: seconds that are enhanced at a time; EM runs on a window
    of the block, ``context`` seconds before it and ``lookahead`` seconds after it. ``level``: active level of
    the recording (RMS, full scale 1.0) where it is known; otherwise the running level. ``name`` selects the
    random streams. The output does not depend on how the stream is split into blocks, and is as long as the
    input. :attr:`latency` is its delay. :class:`~vae_se.enhancement.live.LiveEnhancer` has a shorter one.

    Raises UsageError for invalid settings, and for settings that need the whole recording (baselines, a noise
    segment).
    """

    #: A frame takes part in EM as long as it is in the window, so a few iterations per window are enough, with
    #: the larger steps of the noise's update.
    settings: ClassVar[Mapping[str, Any]] = {
        "inference.iterations": 4,
        "inference.averaging": 2,
        "noise.exponent": 1.0,
    }

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
        self._open(enhancer, rate, channels, level)
        hops = self._signal.rate / self._signal.hop
        sizes = [round(seconds * hops) for seconds in (block, lookahead, context)]
        if sizes[0] < 1 or min(sizes) < 0:
            raise UsageError(
                f"a block of {block} s, a look-ahead of {lookahead} s, a context of {context} s",
                f"give a block of at least {1 / hops:g} s, and no negative length",
            )
        self._frames = WindowFrames(*sizes)
        self._streams = [
            SlidingWindow(
                enhancer.em, self._signal, enhancer.device, self._frames, enhancer.config.output,
                enhancer.config.seed, name, level, listener,
            )
            for listener in self._open_high_band()
        ]  # fmt: skip

    @property
    def block(self) -> float:
        """Seconds of sound that are processed at a time."""
        return self._frames.block * self._signal.hop / self._signal.rate

    @property
    def latency(self) -> float:
        """Largest delay of a sample in seconds: block, look-ahead and analysis window. Resampling adds 0.02 to
        0.1 s where the prior has another rate."""
        frames = self._frames.block + self._frames.lookahead
        return (frames * self._signal.hop + self._signal.window - self._signal.hop) / self._signal.rate
