"""Spectrograms as small PNG files, without a plotting library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

RANGE_DB = 70.0
# Anchors of a palette whose lightness rises evenly, so that it is readable without colour.
_ANCHORS = np.array(
    [
        *((6, 5, 18), (40, 15, 84), (101, 26, 110), (160, 42, 99)),
        *((212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164)),
    ]
)


def _palette() -> bytes:
    at = np.linspace(0, len(_ANCHORS) - 1, 256)
    channels = [np.interp(at, np.arange(len(_ANCHORS)), _ANCHORS[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def png(indices: np.ndarray) -> bytes:
    """A PNG file from palette indices (rows, columns), uint8, the first row on top."""
    rows, columns = indices.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    raw = np.zeros((rows, columns + 1), np.uint8)  # a filter byte (0: none) before every line
    raw[:, 1:] = indices
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", _palette()),
            chunk(b"IDAT", zlib.compress(raw.tobytes(), 9)),
            chunk(b"IEND", b""),
        ]
    )


def levels(waveform: np.ndarray, rate: int, columns: int = 320, rows: int = 96) -> np.ndarray:
    """Spectrogram in dB (rows, columns) of a waveform (T,), low frequencies in the last row."""
    size = 2 ** int(np.ceil(np.log2(0.03 * rate)))
    padded = np.pad(np.asarray(waveform, np.float64), (0, max(0, size - waveform.size)))
    starts = np.linspace(0, padded.size - size, columns).round().astype(int)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    # Mean of neighbouring bins: subsampling would lose narrow lines.
    edges = np.linspace(0, power.shape[1], rows + 1).round().astype(int)
    sums = np.add.reduceat(power, edges[:-1], axis=1) / np.maximum(np.diff(edges), 1)
    return 10 * np.log10(sums.T[::-1] + 1e-12)


def spectrogram(waveform: np.ndarray, rate: int, top_db: float) -> bytes:
    """A PNG spectrogram of a waveform (T,); colours cover :data:`RANGE_DB` below ``top_db``."""
    scaled = (levels(waveform, rate) - (top_db - RANGE_DB)) / RANGE_DB
    return png((np.clip(scaled, 0, 1) * 255).astype(np.uint8))
