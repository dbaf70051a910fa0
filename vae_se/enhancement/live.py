"""Streams for calls: a latency of 64 ms or less, and a cost per block that does not grow with the past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..config import Config
from ..device import usual_torch
from .enhancer import Enhancer
from .live_channel import TWO_WAY, LiveChannel, LiveDelay
from .stream import Stream

#: Largest delay in seconds, unless another is asked for.
LATENCY = 0.064

#: Iterations of EM on a block above the prior's band: a block has one or two frames.
HIGH_BAND_ITERATIONS = 3


class LiveEnhancer(Stream):
    """Enhances a stream within a given latency: ``push(samples)`` returns the speech that is complete.

    ``enhancer``: prior and settings; :meth:`from_pretrained` makes one with the settings for live streams.
    ``rate`` in Hz and ``channels``: of the stream. ``latency``: the largest delay of a sample in seconds, from
    32 ms; up to 96 ms it is spent on the window and the block, beyond that on a look-ahead
    (:class:`~vae_se.enhancement.live_channel.LiveDelay`), which from 200 ms serves the two-way noisy encoder.
    ``level`` and ``name``: as of :class:`~vae_se.enhancement.online.OnlineEnhancer`. The output does not depend
    on how the stream is split, and is as long as the input.

    Raises UsageError for a latency that is too short, for a prior that ties the frames together or has no noisy
    encoder, for a noise model without spectra, for another E-step than ``vem``, and for settings that need the
    whole recording.
    """

    #: The iterations of a block are all that its frames get, so the noisy encoder's deviation keeps its weight.
    settings: ClassVar[Mapping[str, Any]] = {
        "inference.iterations": 2,
        "inference.averaging": 2,
        "inference.deviation_weight": 1.0,
        "inference.precision": None,  # a block is too short to gain from it
    }

    @usual_torch()
    def __init__(
        self,
        enhancer: Enhancer,
        rate: int,
        channels: int = 1,
        *,
        latency: float = LATENCY,
        level: float | None = None,
        name: str = "",
    ) -> None:
        self._open(enhancer, rate, channels, level)
        self.delay = LiveDelay.within(latency, self._signal)
        self._streams = [
            LiveChannel(
                enhancer.em, self._signal, enhancer.device, self.delay, enhancer.config.output,
                enhancer.config.seed, name, level, listener,
            )
            for listener in self._open_high_band(self.delay.span * self._signal.hop, HIGH_BAND_ITERATIONS)
        ]  # fmt: skip

    @classmethod
    def adapted(cls, config: Config, **options: Any) -> Config:
        """The noisy encoder ``auto`` is the causal one, unless the latency leaves a look-ahead of
        :data:`~vae_se.enhancement.live_channel.TWO_WAY`."""
        if config.inference.noisy_encoder == "auto" and options.get("latency", LATENCY) < TWO_WAY:
            return config.override({"inference.noisy_encoder": "causal"})
        return config

    @property
    def latency(self) -> float:
        """Largest delay of a sample in seconds: block, look-ahead and the rest of the synthesis window.
        Resampling adds 0.02 to 0.1 s where the prior has another rate."""
        return self.delay.hops * self._signal.hop / self._signal.rate

    @property
    def block(self) -> float:
        """Seconds of sound that are processed at a time."""
        return self.delay.block * self._signal.hop / self._signal.rate
