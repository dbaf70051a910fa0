"""The parts of ``vae-se stream`` for a call: microphone, loudspeaker, level meter, and what happened."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from ..audio.sound_card import Microphone, Speaker

if TYPE_CHECKING:
    import numpy as np

_SECONDS_PER_LINE = 0.2  # of the level meter
_BAR = 20  # characters
_FLOOR_DB = -60.0  # level at which a bar is empty


class StopSignal:
    """Within the block, ^C and SIGTERM set :attr:`received` in place of an exception: the sound so far is
    finished and written. A signal that the program ignores stays ignored."""

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> StopSignal:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._before = {number: found for number, found in handlers.items() if found != signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True


class Performance:
    """Time per block and drop-outs of a live stream."""

    rate = 16000  # Hz, of the samples

    def __init__(self) -> None:
        self.seconds: list[float] = []  # that each part took
        self.samples = 0
        self.lost = self.starved = 0  # blocks before which samples were lost, or the loudspeaker ran out

    def add(self, samples: int, seconds: float) -> None:
        """``samples`` of every channel were processed in ``seconds``."""
        self.samples += samples
        self.seconds.append(seconds)

    @property
    def load(self) -> float:
        """Processing time per second of sound."""
        return sum(self.seconds) * self.rate / max(1, self.samples)

    def report(self) -> str:
        """One line: load, block times, drop-outs."""
        import numpy as np

        if not self.seconds:
            return "no sound came"
        median, late = (1000 * float(np.quantile(self.seconds, q)) for q in (0.5, 0.99))
        return (
            f"{self.samples / self.rate:.1f} s, load {self.load:.2f}, block time {median:.1f} ms (median), "
            f"{late:.1f} ms (99 %); xruns: {self.lost} input overflows, {self.starved} output underflows"
        )


def from_microphone(
    microphone: Microphone, block: int, stop: StopSignal, performance: Performance
) -> Iterator[np.ndarray]:
    """Blocks (C, ``block``) from the microphone, until ``stop``."""
    while not stop.received:
        samples, lost = microphone.read(block)
        performance.lost += lost
        yield samples.T


def pieces(parts: Iterable[np.ndarray], block: int) -> Iterator[np.ndarray]:
    """Parts (C, T) cut into pieces of at most ``block`` samples, so that playback does not wait for a part."""
    for part in parts:
        for start in range(0, part.shape[1], block):
            yield part[:, start : start + block]


class ToSpeaker:
    """Plays samples (C, T) of any number. One block of silence goes first, which lets a block be late."""

    def __init__(self, speaker: Speaker, channels: int, block: int, performance: Performance) -> None:
        import numpy as np

        self._speaker, self._performance = speaker, performance
        speaker.write(np.zeros((block, channels), np.float32))

    def __call__(self, samples: np.ndarray) -> None:
        if samples.shape[1]:
            self._performance.starved += self._speaker.write(samples.T.copy())


class LevelMeter:
    """Levels before and after, load and drop-outs, in one line of the terminal; nothing elsewhere."""

    def __init__(self, performance: Performance, shown: bool) -> None:
        self._performance = performance
        self._shown = shown and sys.stderr.isatty()
        self._due = 0.0

    def update(self, noisy: np.ndarray, speech: np.ndarray) -> None:
        """Show the levels of the latest samples (C, T), a few times a second."""
        now = time.monotonic()
        if not self._shown or now < self._due or not speech.size:
            return
        self._due = now + _SECONDS_PER_LINE
        found = self._performance
        line = (
            f"in {_bar(noisy)}  out {_bar(speech)}  load {100 * found.load:3.0f} %  "
            f"xruns {found.lost + found.starved}"
        )
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def level_db(samples: np.ndarray) -> float:
    """RMS of samples in dB of full scale, at least the floor of the meter."""
    import numpy as np

    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    return max(_FLOOR_DB, 10 * float(np.log10(max(power, 1e-12))))


def _bar(samples: np.ndarray) -> str:
    level = level_db(samples)
    full = round(_BAR * min(1.0, 1 - level / _FLOOR_DB))
    return f"{level:4.0f} dB [{'#' * full}{'.' * (_BAR - full)}]"
