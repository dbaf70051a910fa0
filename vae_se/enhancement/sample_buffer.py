"""Samples of one channel, read and added to piece by piece: in memory, or on disk where there are hours."""

from __future__ import annotations

import os
import tempfile
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
        """Samples ``start`` to ``stop``, as far as there are any."""

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add to what is there from ``start`` on."""


class MemoryBuffer:
    """A tape around an array (T,)."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    @property
    def size(self) -> int:
        """T."""
        return self.samples.size

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, as far as there are any."""
        return self.samples[start:stop]

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add to what is there from ``start`` on."""
        self.samples[start : start + samples.size] += samples


class DiskBuffer:
    """A tape in a file in ``folder`` that has no name and is gone with the process, however that ends.

    It starts with ``size`` zeros, and :meth:`append` makes it longer. Raises OutputError on a full disk.
    """

    def __init__(self, folder: Path, dtype: np.typing.DTypeLike, size: int = 0) -> None:
        self.size, self._dtype, self._folder = size, np.dtype(dtype), folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives with the tape
        except OSError as error:
            raise self._failed(error) from None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, as far as there are any."""
        width = self._dtype.itemsize
        samples = np.zeros(max(0, min(stop, self.size) - start), self._dtype)
        # What was never written lies beyond the end of the file.
        os.preadv(self._file.fileno(), [samples.data.cast("B")], start * width)
        return samples

    def append(self, samples: np.ndarray) -> None:
        """Make it longer."""
        self._write(self.size, samples)
        self.size += samples.size

    def add(self, start: int, samples: np.ndarray) -> None:
        """Add to what is there from ``start`` on."""
        self._write(start, self.read(start, start + samples.size) + samples)

    def _write(self, start: int, samples: np.ndarray) -> None:
        data = np.ascontiguousarray(samples, self._dtype).data.cast("B")
        place = start * self._dtype.itemsize
        try:
            while data:
                done = os.pwrite(self._file.fileno(), data, place)
                data, place = data[done:], place + done
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot keep parts of the recording in {self._folder}: {error.strerror or error}",
            "long recordings need 12 bytes a sample and channel there while they are enhanced",
        )
