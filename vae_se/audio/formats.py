"""Containers and subtypes: their file extensions, and substitutes for those that cannot be written."""

from __future__ import annotations

import functools
from pathlib import PurePath

import soundfile

from ..errors import UsageError

# Extensions that differ from libsndfile's name of the container.
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
# No header (RAW), two files (SD2), or general numeric data: not taken for audio in a folder.
_NOT_LISTED = {"RAW", "SD2", "MAT4", "MAT5", "HTK", "XI", "SDS", "MPC2K"}

# Containers that share the extension .wav: a file is written back in the container that it was read in.
_RIFF = {"WAV", "WAVEX", "RF64"}

# Substitutes for a subtype that a container does not have, in order of preference.
_NEXT_BEST = {
    "PCM_S8": ("PCM_U8", "PCM_16"),
    "PCM_U8": ("PCM_S8", "PCM_16"),
    "PCM_16": (),
    "PCM_24": ("PCM_32", "FLOAT", "ALAC_24", "PCM_16"),
    "PCM_32": ("DOUBLE", "ALAC_32", "PCM_24", "FLOAT", "PCM_16"),
    "FLOAT": ("DOUBLE", "PCM_32", "PCM_24", "ALAC_24", "PCM_16"),
    "DOUBLE": ("PCM_32", "FLOAT", "PCM_24", "ALAC_32", "PCM_16"),
    "ALAC_16": ("PCM_16",),
    "ALAC_20": ("PCM_24", "PCM_16"),
    "ALAC_24": ("PCM_24", "PCM_16"),
    "ALAC_32": ("PCM_32", "PCM_24", "PCM_16"),
}
# Other subtypes that an output of another container keeps. A WAV may hold MP3 or ADPCM too, but most programs
# expect plain samples in it.
_COMMON = {"ULAW", "ALAW"}

FALLBACK = ".wav"

#: The container of files that the program ffmpeg reads and writes (:mod:`vae_se.audio.media`).
FFMPEG = "FFMPEG"
#: Their extensions, and the extension of an output: a bare AAC stream has no place for its encoder's delay.
_MEDIA = {
    ".3gp": ".3gp", ".aac": ".m4a", ".avi": ".avi", ".m4a": ".m4a", ".m4b": ".m4b", ".m4v": ".m4v",
    ".mka": ".mka", ".mkv": ".mkv", ".mov": ".mov", ".mp4": ".mp4", ".webm": ".webm", ".wma": ".wma",
    ".wmv": ".wmv",
}  # fmt: skip


@functools.cache
def extensions() -> dict[str, str]:
    """Lower-case extension with its dot to libsndfile's container, for all files that count as audio."""
    own = {f".{name.lower()}": name for name in soundfile.available_formats() if name not in _NOT_LISTED}
    return own | {f".{alias}": name for alias, name in _ALIASES.items()}


def is_audio_name(path: PurePath) -> bool:
    """Whether the extension is that of an audio file."""
    return path.suffix.lower() in extensions()


def is_media_name(path: PurePath) -> bool:
    """Whether the extension is that of a film or a sound file that is left to ffmpeg."""
    return path.suffix.lower() in _MEDIA


def writable_extension(extension: str) -> str:
    """``extension`` if it is that of a container, otherwise ``.wav`` (``.m4a`` for ``.aac``)."""
    if extension.lower() in _MEDIA.values():
        return extension
    return extension if extension.lower() in extensions() else _MEDIA.get(extension.lower(), FALLBACK)


def container_of(path: PurePath) -> str:
    """The container of a file name. Raises UsageError for an unknown extension."""
    suffix = path.suffix.lower()
    if suffix in _MEDIA.values():
        return FFMPEG
    try:
        return extensions()[suffix]
    except KeyError:
        raise UsageError(
            f"{path.name!r} does not have the extension of an audio format",
            "end it with .wav, .flac, .ogg, .opus, .mp3, .m4a, .mp4, .aiff, .w64 or .caf",
        ) from None


def output_format(path: PurePath, container: str, subtype: str) -> tuple[str, str]:
    """Container and subtype of the output ``path`` for an input in ``container`` and ``subtype``.

    The extension determines the container. Within a container the subtype stays the same. In another one plain
    samples keep their bit depth, or get the nearest (a float WAV becomes a 24-bit FLAC), and sound of a codec
    (MP3, Vorbis, ADPCM) gets the container's default. MPEG audio is always layer III, and ``.opus`` is always
    Opus. Samples without a header are written to ``.raw`` in their own format. The codec of :data:`FFMPEG` is
    chosen when the file is written.

    >>> from pathlib import PurePath
    >>> output_format(PurePath("out.flac"), "WAV", "FLOAT")
    ('FLAC', 'PCM_24')
    >>> output_format(PurePath("out.wav"), "MP3", "MPEG_LAYER_III")
    ('WAV', 'PCM_16')
    """
    if container == "RAW" and path.suffix.lower() == ".raw":
        return container, subtype
    wanted = container_of(path)
    if wanted == FFMPEG:
        return wanted, "PCM_24"  # limited to full scale, as integers are
    if wanted in _RIFF and container in _RIFF:
        wanted = container
    if path.suffix.lower() == ".opus":
        return wanted, "OPUS"
    if wanted == "MP3":
        return wanted, "MPEG_LAYER_III"
    same = (subtype,) if container == wanted or subtype in _NEXT_BEST or subtype in _COMMON else ()
    for candidate in (*same, *_NEXT_BEST.get(subtype, ())):
        if soundfile.check_format(wanted, candidate):
            return wanted, candidate
    return wanted, soundfile.default_subtype(wanted)
