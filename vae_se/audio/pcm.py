"""Samples in a pipe: without a header, or after the header of a WAV of unknown length."""

from __future__ import annotations

import dataclasses
import struct
from typing import BinaryIO

import numpy as np

from ..errors import AudioError
from .raw import RawFormat

_WIDTH = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
_WAV_PCM, _WAV_FLOAT, _WAV_EXTENSIBLE = 1, 3, 0xFFFE
_SUBTYPES = {
    (_WAV_PCM, 16): "PCM_16",
    (_WAV_PCM, 24): "PCM_24",
    (_WAV_PCM, 32): "PCM_32",
    (_WAV_FLOAT, 32): "FLOAT",
}
_UNKNOWN = 0xFFFFFFFF
# Longest chunk before the samples of a valid WAV.
_LONGEST_CHUNK = 1 << 20


class Decoder:
    """Decodes little-endian samples, in blocks of bytes of any size, to float32 (C, T)."""

    def __init__(self, form: RawFormat) -> None:
        self._form, self._rest = form, b""

    def push(self, data: bytes) -> np.ndarray:
        """Take bytes; return the complete samples. The remaining bytes wait for the next call."""
        width, channels = _WIDTH[self._form.subtype], self._form.channels
        data = self._rest + data
        whole = len(data) - len(data) % (width * channels)
        self._rest = data[whole:]
        if self._form.subtype == "FLOAT":
            flat = np.frombuffer(data[:whole], "<f4").astype(np.float32)
        else:
            # Integers are left-aligned in 32 bits.
            raw = np.zeros((whole // width, 4), np.uint8)
            raw[:, 4 - width :] = np.frombuffer(data[:whole], np.uint8).reshape(-1, width)
            flat = (raw.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
        return np.ascontiguousarray(flat.reshape(-1, channels).T)


def encode(samples: np.ndarray, subtype: str) -> bytes:
    """Encode samples (C, T) as little-endian bytes; integers are rounded and saturate."""
    frames = np.ascontiguousarray(samples.T)
    if subtype == "FLOAT":
        return frames.astype("<f4").tobytes()
    width = _WIDTH[subtype]
    scale = 2.0 ** (8 * width - 1)
    integers = np.clip(np.rint(frames.astype(np.float64) * scale), -scale, scale - 1).astype("<i4")
    return integers.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()


@dataclasses.dataclass(frozen=True)
class WavStart:
    """The format of a WAV, and the number of bytes of its samples; None if the header does not contain it."""

    form: RawFormat
    length: int | None


def read_wav_header(stream: BinaryIO, label: str = "<stdin>") -> WavStart:
    """Read the header of a WAV up to the first sample.

    Raises AudioError unless the samples have 16, 24 or 32 bits or are floats.
    """

    def take(count: int) -> bytes:
        data = stream.read(count)
        if len(data) < count:
            raise AudioError(
                f"{label} ends within its header", "is it a WAV? give --raw for samples without a header"
            )
        return data

    riff = take(12)
    if riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        raise AudioError(
            f"{label} does not start like a WAV", "give --raw for samples without a header, or name a file"
        )
    form = None
    while True:
        name, length = struct.unpack("<4sI", take(8))
        if name == b"data":
            if form is None:
                raise AudioError(f"{label} has samples before their format", "export it again")
            # Programs that write to a pipe announce about as much as the field can hold.
            return WavStart(form, length if 0 < length < 0x7FFF0000 else None)
        if length > _LONGEST_CHUNK:
            raise AudioError(f"{label} has a damaged header", "export it again")
        chunk = take(length + length % 2)
        if name == b"fmt ":
            form = _format(chunk, label)


def _format(chunk: bytes, label: str) -> RawFormat:
    if len(chunk) < 16:
        raise AudioError(f"{label} has a damaged header", "export it again")
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == _WAV_EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack("<H", chunk[24:26])
    subtype = _SUBTYPES.get((code, bits))
    if subtype is None or channels < 1:
        raise AudioError(
            f"{label} has {bits} bits in format {code}, {channels} channels",
            "a stream can have 16, 24 or 32 bits, or floats; name a file for other formats",
        )
    return RawFormat(subtype, rate, channels)


def wav_header(form: RawFormat) -> bytes:
    """The header of a WAV of unknown length."""
    width = _WIDTH[form.subtype]
    code = _WAV_FLOAT if form.subtype == "FLOAT" else _WAV_PCM
    frame = width * form.channels
    fmt = struct.pack("<HHIIHH", code, form.channels, form.rate, form.rate * frame, frame, 8 * width)
    return (
        b"RIFF" + struct.pack("<I", _UNKNOWN) + b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
        + b"data" + struct.pack("<I", _UNKNOWN)
    )  # fmt: skip
