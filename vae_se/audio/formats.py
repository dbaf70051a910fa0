"""Containers and subtypes: which extension means which, and what is written where one cannot be."""

from __future__ import annotations

import functools
from pathlib import PurePath

import soundfile

from ..errors import UsageError

# Extensions that are no container's own name in libsndfile.
_ALIASES = {
    "aif": "AIFF",
    "aifc": "AIFF",
    "bwf": "WAV",
    "oga": "OGG",
    "opus": "OGG",
    "sf": "IRCAM",
    "snd": "AU",
    "sph": "NIST",
    "wave": "WAV",
}
# No header (RAW), two files (SD2), or data that happen to be numbers: never taken for audio in a folder.
_NOT_LISTED = {"RAW", "SD2", "MAT4", "MAT5", "HTK", "XI", "SDS", "MPC2K"}

# One of these may be read under another's extension and is written back as it was.
_RIFF = {"WAV", "WAVEX", "RF64"}

# What comes next when a container has no room for a subtype: the nearest that loses least, in order.
_NEXT_BEST = {
    "PCM_S8": ("PCM_U8", "PCM_16"),
    "PCM_U8": ("PCM_S8", "PCM_16"),
    "PCM_16": (),
    "PCM_24": ("PCM_32", "FLOAT", "ALAC_24", "PCM_16"),
    "PCM_32": ("DOUBLE", "ALAC_32", "PCM_24", "FLOAT", "PCM_16"),
    "FLOAT": ("DOUBLE", "PCM_32", "PCM_24", "ALAC_24", "PCM_16"),
    "DOUBLE": ("PCM_32", "FLOAT", "PCM_24", "ALAC_32", "PCM_16"),
}

FALLBACK = ".wav"


@functools.cache
def extensions() -> dict[str, str]:
    """Extension, lower case with its dot, to libsndfile's container: what a folder is searched for."""
    own = {f".{name.lower()}": name for name in soundfile.available_formats() if name not in _NOT_LISTED}
    return own | {f".{alias}": name for alias, name in _ALIASES.items()}


def is_audio_name(path: PurePath) -> bool:
    """Whether the name looks like audio that libsndfile reads."""
    return path.suffix.lower() in extensions()


def writable_extension(extension: str) -> str:
    """``extension`` where it names a container that can be written, otherwise ``.wav``."""
    return extension if extension.lower() in extensions() else FALLBACK


def container_of(path: PurePath) -> str:
    """The container that a file name asks for; UsageError where it asks for none."""
    suffix = path.suffix.lower()
    try:
        return extensions()[suffix]
    except KeyError:
        raise UsageError(
            f"{path.name!r} does not say an audio format that can be written",
            "end it with .wav, .flac, .ogg, .opus, .mp3, .aiff, .w64 or .caf",
        ) from None


def output_format(path: PurePath, container: str, subtype: str) -> tuple[str, str]:
    """Container and subtype to write to ``path`` what was read as ``container`` and ``subtype``.

    The extension decides about the container. The subtype stays where the container has it; otherwise it
    is the nearest in depth (a float WAV becomes a 24-bit FLAC), or the container's own default. MPEG
    audio is always written as layer III, and ``.opus`` always holds Opus. Bare samples go to
    ``.raw`` as they came.
    """
    if container == "RAW" and path.suffix.lower() == ".raw":
        return container, subtype
    wanted = container_of(path)
    if wanted in _RIFF and container in _RIFF:
        wanted = container
    if path.suffix.lower() == ".opus":
        return wanted, "OPUS"
    if wanted == "MP3":
        return wanted, "MPEG_LAYER_III"
    for candidate in (subtype, *_NEXT_BEST.get(subtype, ())):
        if soundfile.check_format(wanted, candidate):
            return wanted, candidate
    return wanted, soundfile.default_subtype(wanted)
