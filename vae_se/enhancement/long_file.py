"""Recordings longer than memory: read, enhanced and written in parts, to the same result as in one piece.

Four passes over the file, which cost little beside EM: the level; then, after EM over chunks of the channels,
which are kept on disk at the prior's rate, the levels of speech and noise; the peak of the result; the result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..audio.files import fingerprint, peak
from ..audio.formats import output_format
from ..audio.level import LevelMeter
from ..audio.raw import RawFormat
from ..audio.reader import BLOCK, Reader
from ..audio.resample import Resampler
from ..audio.writer import Limiter, Writer
from ..errors import AudioError
from ..numerics import SILENCE_RMS
from .channel import Channel
from .enhancer import Info, silent_channel
from .residual_noise import leaves_noise, part_left
from .sample_buffer import DiskBuffer
from .separation import Progress

if TYPE_CHECKING:
    from .enhancer import Enhancer

#: Samples of all channels together, above which a file is enhanced in parts: a quarter of an hour of one
#: channel at 16 kHz, 67 MB.
LONG = 1 << 24


def is_long(enhancer: Enhancer, path: Path, raw: RawFormat | None = None, label: str | None = None) -> bool:
    """Whether ``path`` is to be enhanced in parts; AudioError where it cannot be read."""
    reader = Reader(path, label, raw)
    # A baseline looks at the whole.
    return enhancer.prior is not None and reader.frames * reader.channels > LONG


def enhance_long(
    enhancer: Enhancer,
    source: Path,
    target: Path,
    *,
    clip: str = "clamp",
    noise: Path | None = None,
    raw: RawFormat | None = None,
    label: str | None = None,
    progress: Progress | None = None,
) -> tuple[float, Info]:
    """Enhance the file ``source`` into ``target``, and write its noise to ``noise`` where that is given.

    Returns the duration in seconds, and what else is known.

    The folder of ``target`` holds 8 to 12 bytes a sample and channel, at the prior's rate, meanwhile. What is
    written is what :meth:`~vae_se.enhancement.enhancer.Enhancer.enhance` and files.write would have made, to the last bit.

    Raises AudioError where the file cannot be read or changes meanwhile, OutputError where the disk is full.
    """
    started, before = time.perf_counter(), fingerprint(source)
    passes = _Passes(enhancer, Reader(source, label, raw), target.parent)
    channels = [channel for channel in passes.channels if channel is not None]
    enhancer.separator().run(channels, [""] * len(channels), progress)
    passes.measure()
    warnings: list[str] = []
    # Where the speech is there, so is its noise; noise alone is of a run that was cut off.
    outputs = ([(noise, 1)] if noise is not None else []) + [(target, 0)]
    for path, which in outputs:
        reader = passes.reader
        container, subtype = output_format(path, reader.container, reader.subtype)
        top = max(peak(pair[which]) for pair in passes.results())
        limiter = Limiter(subtype, clip, top, passes.peak)
        with Writer(path, reader.rate, reader.channels, container, subtype) as writer:
            for pair in passes.results():
                writer.write(limiter.apply(pair[which]))
            if fingerprint(source) != before:
                raise AudioError(f"{reader.label} changed while it was read", "run again when it is complete")
        warnings += limiter.warnings() if path == target else []
    parts = [found for channel in channels for found in channel.diagnostics]
    said = [*passes.reader.warnings, *passes.warnings]
    info = Info.summary(None, time.perf_counter() - started, parts, said)
    info.warnings += warnings
    return passes.samples / passes.reader.rate, info


class _Passes:
    """A file and what is made of it; the first pass is made at once.

    ``channels``: of each channel what EM is run on, None for silence; ``peak`` of the input; ``samples`` of one
    channel.
    """

    def __init__(self, enhancer: Enhancer, reader: Reader, folder: Path) -> None:
        self.reader, self._signal, self._output = reader, enhancer.prior.signal, enhancer.config.output
        signal, count = self._signal, reader.channels
        tapes = [DiskBuffer(folder, reader.dtype) for _ in range(count)]
        meters = [LevelMeter(signal.rate) for _ in range(count)]
        resampler = Resampler(reader.rate, signal.rate, count, reader.dtype)
        self.peak, self.samples = 0.0, 0

        def keep(parts: np.ndarray) -> None:
            for tape, meter, part in zip(tapes, meters, parts, strict=True):
                tape.append(part)
                meter.push(part)

        for block in reader.blocks():
            self.peak = max(self.peak, peak(block))
            self.samples += block.shape[1]
            keep(resampler.push(block))
        keep(resampler.finish())
        self.channels: list[Channel | None] = []
        self.warnings: list[str] = []
        for number, (tape, meter) in enumerate(zip(tapes, meters, strict=True)):
            level = meter.active_rms()
            if level < SILENCE_RMS:
                self.warnings.append(silent_channel(number))
                self.channels.append(None)
                continue
            speech = DiskBuffer(folder, np.float32, tape.size)
            scale = level / signal.active_rms
            self.channels.append(Channel(tape, speech, scale, signal.stft, enhancer.device))

    def measure(self) -> None:
        """How much of the noise stays, once EM is done."""
        rate, count = self.reader.rate, self.reader.channels
        meters = [(LevelMeter(rate), LevelMeter(rate)) for _ in range(count)]
        if leaves_noise(self._output):
            for noisy, speech in self._pairs():
                for (of_speech, of_noise), one, other in zip(meters, speech, noisy - speech, strict=True):
                    of_speech.push(one)
                    of_noise.push(other)
        left = [part_left(self._output, a.active_rms(), b.rms()) for a, b in meters]
        self._left = np.array(left)[:, None].astype(self.reader.dtype)

    def results(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What is heard in the end, and the noise that was found, part by part (C, T)."""
        for noisy, speech in self._pairs():
            noise = noisy - speech
            yield (noise * self._left + speech if leaves_noise(self._output) else speech), noise

    def _pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Parts (C, T) of the recording, and of its speech at the same rate."""
        voices = [None if c is None else self._speech(c) for c in self.channels]
        for block in self.reader.blocks():
            speech = block.copy()  # silence is its own speech
            for row, voice in zip(speech, voices, strict=True):
                if voice is not None:
                    row[:] = voice.take(row.size)
            yield block, speech

    def _speech(self, channel: Channel) -> _Taker:
        def parts() -> Iterator[np.ndarray]:
            resampler = Resampler(self._signal.rate, self.reader.rate, 1, np.float32, self.samples)
            for start in range(0, channel.speech.size, BLOCK):
                yield resampler.push(channel.speech.read(start, start + BLOCK)[None])[0]
            yield resampler.finish()[0]

        return _Taker(parts())


class _Taker:
    """As many samples at a time as are asked for, from parts of any size."""

    def __init__(self, parts: Iterator[np.ndarray]) -> None:
        self._parts, self._rest = parts, np.zeros(0, np.float32)

    def take(self, samples: int) -> np.ndarray:
        """The next ``samples``."""
        while self._rest.size < samples:
            self._rest = np.concatenate([self._rest, next(self._parts)])
        taken, self._rest = self._rest[:samples], self._rest[samples:]
        return taken
