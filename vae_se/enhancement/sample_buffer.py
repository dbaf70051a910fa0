"""Buffers for the samples of one channel: in memory, or in a temporary file for hours of sound."""

from __future__ import annotations

import functools
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import OutputError


class SampleBuffer(Protocol):
    """Samples (T,) of one channel."""

    @property
    def size(self) -> int:
        """T."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, or to the end where the buffer is shorter."""

    def append(self, samples: np.ndarray) -> None:
        """Extend the buffer."""

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add ``samples`` to the buffer's own from ``start`` on."""


#: Makes a buffer of a dtype that starts with a number of zeros.
NewBuffer = Callable[[np.typing.DTypeLike, int], SampleBuffer]


class MemoryBuffer:
    """A buffer in memory. It starts with ``size`` zeros."""

    def __init__(self, dtype: np.typing.DTypeLike, size: int = 0) -> None:
        self.size = size
        self._samples = np.zeros(size, dtype)
        self._start = 0  # position of the first sample that is kept
        self._appended: list[np.ndarray] = []  # joined when they are needed

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, or to the end where the buffer is shorter."""
        return self._joined()[start - self._start : max(0, stop - self._start)]

    def append(self, samples: np.ndarray) -> None:
        """Extend the buffer; it keeps a reference to ``samples`` until the next :meth:`read` or :meth:`add`."""
        self._appended.append(samples)
        self.size += samples.size

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add ``samples`` to the buffer's own from ``start`` on."""
        start -= self._start
        self._joined()[start : start + samples.size] += samples

    def discard(self, stop: int) -> None:
        """Free the samples before ``stop``. Positions of the others stay the same."""
        self._samples = self._joined()[stop - self._start :]
        self._start = stop

    def _joined(self) -> np.ndarray:
        if self._appended:
            self._samples = np.concatenate([self._samples, *self._appended])
            self._appended = []
        return self._samples


class DiskBuffer:
    """A buffer in an unnamed file in ``folder``, which the system removes when the process ends.

    It starts with ``size`` zeros. Raises OutputError where the disk is full.
    """

    def __init__(self, folder: Path, dtype: np.typing.DTypeLike, size: int = 0) -> None:
        self.size, self._dtype, self._folder = size, np.dtype(dtype), folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - see below
        except OSError as error:
            raise self._failure(error) from None
        weakref.finalize(self, self._file.close)  # it is closed when the buffer is no longer used

    @classmethod
    def in_folder(cls, folder: Path) -> NewBuffer:
        """A function that makes buffers in ``folder``."""
        return functools.partial(cls, folder)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, or to the end where the buffer is shorter."""
        width = self._dtype.itemsize
        samples = np.zeros(max(0, min(stop, self.size) - start), self._dtype)
        # Zeros that were never written lie beyond the end of the file: reading leaves them as they are.
        self._file.seek(start * width)
        self._file.readinto(samples.data.cast("B"))
        return samples

    def append(self, samples: np.ndarray) -> None:
        """Extend the buffer."""
        self._write(self.size, samples)
        self.size += samples.size

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add ``samples`` to the buffer's own from ``start`` on."""
        self._write(start, self.read(start, start + samples.size) + samples)

    def _write(self, start: int, samples: np.ndarray) -> None:
        data = np.ascontiguousarray(samples, self._dtype).data.cast("B")
        try:
            self._file.seek(start * self._dtype.itemsize)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write temporary samples to {self._folder}: {error.strerror or error}",
            "a long recording needs 12 to 20 bytes per sample and channel there while it is enhanced",
        )
