"""The microphone and the loudspeaker, through PortAudio (the package sounddevice)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..errors import AudioError, UsageError
from ..extras import need


class Microphone(Protocol):
    """A recording that goes on."""

    def read(self, frames: int) -> tuple[np.ndarray, bool]:
        """The next samples (frames, C) in float32; whether samples before them were lost."""


class Speaker(Protocol):
    """A playback that goes on."""

    def write(self, samples: np.ndarray) -> bool:
        """Play samples (frames, C) in float32; whether the loudspeaker ran out of samples before them."""


class SoundCard(Protocol):
    """Opens microphone and loudspeaker."""

    def microphone(
        self, device: str, rate: int, channels: int, block: int
    ) -> AbstractContextManager[Microphone]:
        """The microphone ``device`` (a name, a number, or "" for the default), read in blocks of samples."""

    def speaker(self, device: str, rate: int, channels: int, block: int) -> AbstractContextManager[Speaker]:
        """The loudspeaker ``device``, written to in blocks of samples."""


class PortAudio:
    """The devices of this machine. UsageError where sounddevice is not installed, AudioError where PortAudio
    is missing or a device cannot be opened."""

    def __init__(self) -> None:
        need("the sound card", "sounddevice", "live")
        try:
            import sounddevice
        except OSError as error:
            raise AudioError(
                f"sounddevice cannot start: {error}", "install PortAudio (libportaudio2)"
            ) from None
        self._library: Any = sounddevice

    def microphone(
        self, device: str, rate: int, channels: int, block: int
    ) -> AbstractContextManager[Microphone]:
        """See :class:`SoundCard`."""
        return self._open(self._library.InputStream, "microphone", device, rate, channels, block)

    def speaker(self, device: str, rate: int, channels: int, block: int) -> AbstractContextManager[Speaker]:
        """See :class:`SoundCard`."""
        return self._open(self._library.OutputStream, "loudspeaker", device, rate, channels, block)

    def _open(self, kind: Any, label: str, device: str, rate: int, channels: int, block: int) -> Any:
        chosen: str | int | None = int(device) if device.isdigit() else device or None
        try:
            return kind(
                samplerate=rate, blocksize=block, device=chosen, channels=channels, dtype="float32",
                latency="low",
            )  # fmt: skip
        except (self._library.PortAudioError, ValueError) as error:
            wanted = f"{device or '(default)'}, {channels} channels at {rate} Hz"
            raise AudioError(
                f"cannot open the {label} {wanted}: {error}",
                "python -m sounddevice lists the devices; try another, or --rate 48000",
            ) from None


def sound_card() -> SoundCard:
    """The sound card of this machine; tests replace it."""
    return PortAudio()


def check_device(device: str) -> None:
    """Raise UsageError for a device that is a file: the option took the name that was meant as the input."""
    if "/" in device or device.endswith((".wav", ".flac")):
        raise UsageError(f"{device!r} is no sound device", "put the file before --mic or --speaker")
