"""The steps from a noisy recording to its speech, the same for a recording in memory and a long file.

Resample to the prior's rate, measure the active level of each channel, leave out silent channels, run EM over
segments, add their contributions, resample back. Samples pass in blocks, and buffers in between are in memory
or on disk: the result is the same to the last bit. The residual noise is added afterwards
(:mod:`vae_se.enhancement.residual_noise`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from ..audio.files import peak
from ..audio.level import LevelMeter
from ..audio.reader import BLOCK
from ..audio.resample import Resampler
from ..high_band.frames import AlignedSTFT
from ..inference.diagnostics import Diagnostics, summarise
from ..signal_spec import SignalSpec
from .activity import audible
from .channel import Channel, level_scale
from .high_band import HighSamples
from .residual_noise import Block
from .results import ChannelInfo
from .sample_buffer import NewBuffer, SampleBuffer
from .segmented_em import ProgressCallback, SegmentedEM


class SampleSource(Protocol):
    """A recording that can be read more than once, such as an :class:`~vae_se.audio.reader.Reader`.

    ``rate`` in Hz, number of ``channels`` C, and ``dtype`` of the samples.
    """

    rate: int
    channels: int
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples from the first on, in blocks (C, T)."""


class ArraySource:
    """A recording in memory: ``samples`` (C, T) at ``rate`` Hz."""

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self.samples, self.rate = samples, rate
        self.channels, self.dtype = len(samples), samples.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples from the first on, in blocks (C, T)."""
        length = max(1, BLOCK // self.channels)
        for start in range(0, self.samples.shape[1], length):
            yield self.samples[:, start : start + length]


@dataclasses.dataclass(frozen=True)
class PreparedRecording:
    """A recording at the prior's rate. ``channels``: None for a silent one. ``samples``: T at the recording's
    rate. ``peak``: largest magnitude."""

    source: SampleSource
    channels: list[Channel | None]
    samples: int
    peak: float

    @classmethod
    def of(
        cls,
        source: SampleSource,
        signal: SignalSpec,
        device: torch.device,
        new_buffer: NewBuffer,
        high_band: bool = False,
    ) -> PreparedRecording:
        """Resample a recording, and measure the active level of its channels.

        ``high_band``: also keep what lies above the prior's band, where the recording's rate has such a band.
        """
        buffers = [new_buffer(source.dtype, 0) for _ in range(source.channels)]
        meters = [LevelMeter(signal.rate) for _ in range(source.channels)]
        resampler = Resampler(source.rate, signal.rate, source.channels, source.dtype)
        samples, highest = 0, 0.0

        def store(block: np.ndarray) -> None:
            for buffer, meter, row in zip(buffers, meters, block, strict=True):
                buffer.append(row)
                meter.push(row)

        for block in source.blocks():
            samples, highest = samples + block.shape[1], max(highest, peak(block))
            store(resampler.push(block))
        store(resampler.finish())
        scales = [level_scale(meter.active_rms(), signal) for meter in meters]
        channels = [
            None if scale is None else Channel(buffer, scale, signal.stft, device)
            for buffer, scale in zip(buffers, scales, strict=True)
        ]
        if high_band and source.rate > signal.rate:
            channels = _with_high_band(source, channels, samples, signal, new_buffer)
        return cls(source, channels, samples, highest)


def _with_high_band(
    source: SampleSource,
    channels: Sequence[Channel | None],
    samples: int,
    signal: SignalSpec,
    new_buffer: NewBuffer,
) -> list[Channel | None]:
    """The channels with the rest of ``source`` above the band of their samples."""
    stft = AlignedSTFT(signal, source.rate)
    highs = [None if one is None else HighSamples(new_buffer(np.float32, 0), stft) for one in channels]
    queues = [
        None if one is None else SampleQueue(_resampled(one.samples, signal.rate, source.rate, samples))
        for one in channels
    ]
    for block in source.blocks():
        for row, queue, high in zip(block, queues, highs, strict=True):
            if queue is not None and high is not None:
                # In double precision, so that the same sound gives the same result in single and double.
                rest = np.subtract(row, queue.take(row.size), dtype=np.float64)
                high.samples.append(rest.astype(np.float32))
    return [
        None if one is None else dataclasses.replace(one, high=high)
        for one, high in zip(channels, highs, strict=True)
    ]


def _resampled(buffer: SampleBuffer, rate_in: int, rate_out: int, samples: int) -> Iterator[np.ndarray]:
    """A buffer at ``rate_in`` Hz in blocks (T,) at ``rate_out`` Hz, ``samples`` in all."""
    resampler = Resampler(rate_in, rate_out, 1, np.float32, samples)
    for start in range(0, buffer.size, BLOCK):
        yield resampler.push(buffer.read(start, start + BLOCK)[None])[0]
    yield resampler.finish()[0]


@dataclasses.dataclass(frozen=True)
class EnhancedRecording:
    """The speech of a recording.

    ``speech``: per channel samples at ``rate`` Hz; None for a silent channel, which is its own speech.
    ``high``: per channel what the recording has above the band of ``rate``, and the speech in it, at the
    recording's rate; None where there is no such band or it is not enhanced: it then counts as noise.
    ``samples``: T at the recording's rate. ``peak``: largest magnitude of the recording. ``diagnostics``: of
    all segments and channels. ``posteriors`` and ``presence``: of the channels that are not silent, where they
    were requested.
    """

    source: SampleSource
    speech: list[SampleBuffer | None]
    rate: int
    samples: int
    peak: float
    diagnostics: list[Diagnostics] = dataclasses.field(default_factory=list)
    posteriors: list[ChannelInfo] = dataclasses.field(default_factory=list)
    presence: list[torch.Tensor] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    high: list[tuple[SampleBuffer, SampleBuffer] | None] = dataclasses.field(default_factory=list)

    @property
    def summary(self) -> Diagnostics:
        """The diagnostics of all segments and channels together."""
        return summarise(self.diagnostics)

    def blocks(self) -> Iterator[Block]:
        """The recording and its speech, both at the recording's rate, in blocks (C, T)."""
        queues = [
            None
            if buffer is None
            else SampleQueue(_resampled(buffer, self.rate, self.source.rate, self.samples))
            for buffer in self.speech
        ]
        split, start = any(pair is not None for pair in self.high), 0
        for noisy in self.source.blocks():
            speech, stop = noisy.copy(), start + noisy.shape[1]
            for row, queue in zip(speech, queues, strict=True):
                if queue is not None:
                    row[:] = queue.take(row.size)
            if not split:
                yield Block(noisy, speech)
                continue
            high_speech, high_noise = np.zeros_like(noisy), np.zeros_like(noisy)
            for c, pair in enumerate(self.high):
                if pair is not None:
                    high_noisy, found = (buffer.read(start, stop) for buffer in pair)
                    high_speech[c], high_noise[c] = found, high_noisy - found
            yield Block(noisy, speech + high_speech, high_speech, high_noise)
            start = stop


class SampleQueue:
    """Hands out samples in blocks of any size; they come from ``blocks`` of any other."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self._waiting = np.zeros(0, np.float32)

    def take(self, samples: int) -> np.ndarray:
        """The next ``samples`` samples."""
        while self._waiting.size < samples:
            self._waiting = np.concatenate([self._waiting, next(self._blocks)])
        taken, self._waiting = self._waiting[:samples], self._waiting[samples:]
        return taken


def enhance_recordings(
    em: SegmentedEM,
    sources: Sequence[SampleSource],
    names: Sequence[str],
    new_buffer: NewBuffer,
    *,
    keep_posterior: bool = False,
    keep_presence: bool = False,
    progress: ProgressCallback | None = None,
) -> list[EnhancedRecording]:
    """Estimate the speech of recordings, all their channels together.

    ``names``: of the recordings; with the seed they select the random streams. ``new_buffer``: makes the
    buffers that hold samples in between.
    """
    recordings = [
        PreparedRecording.of(source, em.signal, em.device, new_buffer, em.high_band is not None)
        for source in sources
    ]
    channels = [channel for recording in recordings for channel in recording.channels if channel is not None]
    keys = [
        name
        for name, recording in zip(names, recordings, strict=True)
        for channel in recording.channels
        if channel is not None
    ]
    estimates = iter(
        em.run(
            channels, keys, new_buffer,
            keep_posterior=keep_posterior, keep_presence=keep_presence, progress=progress,
        )
    )  # fmt: skip
    results = []
    for recording in recordings:
        found = [None if channel is None else next(estimates) for channel in recording.channels]
        present = [estimate for estimate in found if estimate is not None]
        results.append(
            EnhancedRecording(
                source=recording.source,
                speech=[None if estimate is None else estimate.speech for estimate in found],
                rate=em.signal.rate,
                samples=recording.samples,
                peak=recording.peak,
                diagnostics=[part for estimate in present for part in estimate.diagnostics],
                posteriors=[estimate.posterior for estimate in present if estimate.posterior is not None],
                presence=[
                    estimate.presence * audible(estimate.speech, em.signal, em.device)
                    for estimate in present
                    if estimate.presence is not None
                ],
                warnings=[silent_channel(c) for c, estimate in enumerate(found) if estimate is None],
                high=[
                    None
                    if channel is None or channel.high is None or estimate is None or estimate.high is None
                    else (channel.high.samples, estimate.high)
                    for channel, estimate in zip(recording.channels, found, strict=True)
                ],
            )
        )
    return results


def silent_channel(channel: int) -> str:
    """Warning about a silent channel; ``channel`` counts from 0."""
    return f"channel {channel + 1} is silent: copied"
