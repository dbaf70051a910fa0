"""What all streams share: checks, resampling, channels, and an output as long as the input."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ..audio.reader import LOUDEST, is_sound
from ..audio.resample import Resampler
from ..config import Config
from ..device import usual_torch
from ..errors import AudioError, UsageError
from ..high_band.frames import AlignedSTFT
from ..threads import dividing_work
from .arrays import MOST_CHANNELS, checked_rate
from .enhancer import Enhancer
from .high_band_stream import HighBandChannel, HighBandStream


class ChannelStream(Protocol):
    """One channel of a stream at the prior's rate."""

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples (T,); return the speech that is complete, in order."""

    def flush(self) -> np.ndarray:
        """The speech of all samples that remain."""


class Stream(ABC):
    """Enhances a stream: ``push(samples)`` returns the speech that is complete, ``flush()`` the rest.

    The output does not depend on how the stream is split into parts, and is as long as the input. A subclass
    calls :meth:`_open` in its constructor, whose arguments are the enhancer, the rate, the number of channels
    and options of its own.
    """

    #: Settings that differ from the default preset's, for :meth:`from_pretrained`.
    settings: ClassVar[Mapping[str, Any]]
    rate: int
    channels: int
    _streams: Sequence[ChannelStream]

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
    ) -> Self:
        """An enhancer of a stream of ``rate`` Hz, with a shipped prior (by name) or one of yours (by folder).

        ``config`` replaces the settings for streams, :attr:`settings`; ``threads``: see
        :meth:`Enhancer.from_pretrained`; ``options`` are those of the constructor.
        """
        config = cls.adapted(config or Config().override(cls.settings), **options)
        enhancer = Enhancer.from_pretrained(prior, config=config, device=device, threads=threads)
        return cls(enhancer, rate, channels, **options)

    @classmethod
    def adapted(cls, config: Config, **options: Any) -> Config:
        """``config`` as streams of this class with these options use it; here unchanged."""
        return config

    @abstractmethod
    def __init__(self, enhancer: Enhancer, rate: int, channels: int = 1, **options: Any) -> None: ...

    @property
    @abstractmethod
    def block(self) -> float:
        """Seconds of sound that are processed at a time."""

    @property
    @abstractmethod
    def latency(self) -> float:
        """Largest delay of a sample in seconds. Resampling adds 0.02 to 0.1 s where the prior has another
        rate."""

    def _open(self, enhancer: Enhancer, rate: int, channels: int, level: float | None) -> None:
        """Check what all streams require; raises UsageError, AudioError for a rate that no recording has."""
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
        self._inward = Resampler(rate, self._signal.rate, channels, np.float32)
        self._outward = Resampler(self._signal.rate, rate, channels, np.float32)
        self._high: HighBandStream | None = None
        self._received = self._returned = 0
        self._finished = False

    def _open_high_band(
        self, span: int | None = None, iterations: int | None = None
    ) -> list[HighBandChannel] | list[None]:
        """Also enhance what lies above the prior's band: one channel of it for each channel of the stream, or
        None where there is no such band.

        ``span``: samples of every frame at the prior's rate that the synthesis uses; None: all. ``iterations``
        of EM on a block; None: as for a recording.
        """
        enhancer = self.enhancer
        filtering = enhancer.high_band_at(self.rate)
        if filtering is None:
            return [None] * self.channels
        if iterations is not None:
            filtering = dataclasses.replace(
                filtering, em=dataclasses.replace(filtering.em, iterations=iterations)
            )
        stft = AlignedSTFT(self._signal, self.rate, span)
        channels = [
            HighBandChannel(filtering, stft, enhancer.config.output, enhancer.device)
            for _ in range(self.channels)
        ]
        self._high = HighBandStream(channels, self._signal, self.rate)
        return channels

    @usual_torch()
    def push(self, samples: Any) -> np.ndarray:
        """Take the next samples, floating-point (T,) or (C, T), of any number; return the speech that is
        complete, with as many dimensions.

        Raises AudioError for samples that are not finite, UsageError for another type or number of channels,
        and after :meth:`flush`.
        """
        block, dimensions = np.atleast_2d(samples), np.ndim(samples)
        if self._finished:
            raise UsageError("the stream has ended", f"make another {type(self).__name__} for another stream")
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
        block = block.astype(np.float32)
        low = self._inward.push(block)
        if self._high is not None:
            self._high.push(block, low)
        out = self._enhanced(low, last=False)
        return out[0] if dimensions == 1 else out

    @usual_torch()
    def flush(self) -> np.ndarray:
        """End the stream; the rest of the speech, (C, T)."""
        if self._finished:
            return np.zeros((self.channels, 0), np.float32)
        self._finished = True
        low = self._inward.finish()
        if self._high is not None:
            self._high.finish(low)
        return self._enhanced(low, last=True)

    def _enhanced(self, noisy: np.ndarray, last: bool) -> np.ndarray:
        """Push samples (C, T) at the prior's rate through the channels; the speech at the stream's rate."""
        with dividing_work(self.enhancer.threads):
            return self._through_streams(noisy, last)

    def _through_streams(self, noisy: np.ndarray, last: bool) -> np.ndarray:
        speech = [stream.push(row) for stream, row in zip(self._streams, noisy, strict=True)]
        if last:
            rest = [stream.flush() for stream in self._streams]
            speech = [np.concatenate(pair) for pair in zip(speech, rest, strict=True)]
        out = self._outward.push(np.stack(speech))
        if last:
            out = np.concatenate([out, self._outward.finish()], 1)
        if self._high is not None:
            out = self._high.added(out, last)
        if last:
            # Resampling there and back may differ by a sample.
            missing = self._received - self._returned
            out = np.pad(out[:, :missing], [(0, 0), (0, max(0, missing - out.shape[1]))])
        self._returned += out.shape[1]
        return out
