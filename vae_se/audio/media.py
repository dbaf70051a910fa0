"""Recordings that libsndfile does not read (m4a, mp4, webm, wma, mov and the like), through the program ffmpeg.

The first audio stream is decoded to a temporary file. An output of such a type holds the new sound, encoded as
in the input where the container stays the same, and the pictures, subtitles and further audio streams of the
input, copied without decoding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import AudioError, OutputError
from .ffmpeg import SAFE, run, url
from .formats import FFMPEG, is_media_name
from .raw import RawFormat
from .reader import Reader, check_readable
from .writer import Writer, cannot_write

#: Containers that hold a film; the others hold sound, and a cover picture at most.
_FILMS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".3gp"}
# Codecs that ffmpeg encodes with an encoder of another name, or of the same.
_ENCODERS = {
    "aac": "aac", "ac3": "ac3", "alac": "alac", "flac": "flac", "mp3": "libmp3lame", "opus": "libopus",
    "pcm_f32le": "pcm_f32le", "pcm_s16be": "pcm_s16be", "pcm_s16le": "pcm_s16le", "pcm_s24be": "pcm_s24be",
    "pcm_s24le": "pcm_s24le", "vorbis": "libvorbis", "wmav1": "wmav1", "wmav2": "wmav2",
}  # fmt: skip
_LOSSY = {"aac", "ac3", "mp3", "opus", "vorbis", "wmav1", "wmav2"}
#: Bits per second and channel, at least: the input's own rate may belong to a better encoder than ffmpeg's.
_LEAST_BITS = 64_000


@dataclasses.dataclass(frozen=True)
class Media:
    """A film or a sound file, as ffprobe describes it.

    ``rate`` in Hz, ``channels``, ``codec`` and ``bits`` per second (0: unknown) of the first audio stream,
    whose number is ``index``; ``seconds``: duration of the file; ``start``: time in seconds at which it starts.
    ``pictures``, ``covers`` and ``others``: numbers of the video streams, of still pictures, and of further
    audio streams and subtitles.
    """

    index: int
    codec: str
    rate: int
    channels: int
    bits: int
    seconds: float
    start: float
    pictures: tuple[int, ...] = ()
    covers: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    audio_streams: int = 1


def probe(path: Path, label: str | None = None) -> Media:
    """Describe a file. Raises AudioError where ffmpeg is missing, cannot read the file or finds no sound."""
    label = label or str(path)
    check_readable(path, label)
    shown = run("ffprobe", [*SAFE, "-show_streams", "-show_format", "-of", "json", url(path)], path, label)
    found: dict[str, Any] = json.loads(shown)
    streams: list[dict[str, Any]] = found.get("streams", [])
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio"]
    if not sounds:
        raise AudioError(f"{label} has no sound", "name a file with an audio stream")
    first, form = sounds[0], found.get("format", {})
    films = [stream for stream in streams if stream.get("codec_type") == "video"]
    still = [stream["index"] for stream in films if stream.get("disposition", {}).get("attached_pic")]
    return Media(
        index=first["index"],
        codec=str(first.get("codec_name", "")),
        rate=int(first.get("sample_rate", 0)),
        channels=int(first.get("channels", 0)),
        bits=int(first.get("bit_rate", 0)),
        seconds=float(first.get("duration", form.get("duration", 0.0))),
        start=max(0.0, float(form.get("start_time", 0.0))),
        pictures=tuple(stream["index"] for stream in films if stream["index"] not in still),
        covers=tuple(still),
        others=tuple(
            stream["index"]
            for stream in streams
            if stream.get("codec_type") in ("audio", "subtitle") and stream is not first
        ),
        audio_streams=len(sounds),
    )


@contextlib.contextmanager
def opened(
    path: Path, label: str | None = None, raw: RawFormat | None = None, folder: Path | None = None
) -> Iterator[Reader]:
    """A reader of any recording; where ffmpeg decodes it, the reader is valid inside the block only.

    ``folder``: where the decoded sound is kept meanwhile, by default the system's folder for temporary files.
    The sound starts with the film: a later audio stream is preceded by silence. Raises AudioError.
    """
    if raw is not None or not is_media_name(path):
        yield Reader(path, label, raw)
        return
    label = label or str(path)
    media = probe(path, label)
    with tempfile.TemporaryDirectory(prefix=".vae-se-", dir=folder) as place:
        sound = Path(place) / "sound.wav"
        first = round(media.start * media.rate)
        run(
            "ffmpeg",
            [
                *("-nostdin", "-copyts", *SAFE, "-i", url(path), "-map", f"0:{media.index}"),
                *(
                    "-af",
                    f"aresample=async=1:first_pts={first}",
                    "-c:a",
                    "pcm_f32le",
                    "-rf64",
                    "auto",
                    url(sound),
                ),
            ],
            path,
            label,
        )
        reader = Reader(sound, label)
        # Its bit depth is that of the decoder's output; a WAV made of it is to have the usual one.
        reader.subtype = "PCM_16"
        if media.audio_streams > 1:
            reader.remarks = (f"only the first of {media.audio_streams} audio streams is enhanced",)
        yield reader


class MediaWriter:
    """As :class:`~vae_se.audio.writer.Writer`, for a file that ffmpeg encodes.

    ``origin``: the input, whose pictures, subtitles, further audio streams and tags are copied; None: the sound
    alone. Raises OutputError where ffmpeg cannot write the file.
    """

    def __init__(self, path: Path, rate: int, channels: int, origin: Path | None, comment: str = "") -> None:
        self.path, self._origin, self._comment = path, origin, comment
        self._form = (rate, channels)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> MediaWriter:
        rate, channels = self._form
        try:
            place = self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent)
            )
        except OSError as error:
            raise cannot_write(self.path, error) from None
        self._place = Path(place)
        self._sound = Writer(self._place / "sound.wav", rate, channels, "RF64", "FLOAT").__enter__()
        return self

    def write(self, samples: np.ndarray) -> None:
        """Write the next samples (C, T)."""
        self._sound.write(samples)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._sound.__exit__(kind, error, trace)
            if kind is None:
                made = self._place / self.path.name
                media = None if self._origin is None else probe(self._origin)
                arguments = _encoding(self.path, self._sound.path, self._origin, media, self._form[1])
                comment = ["-metadata", f"comment={self._comment}"] if self._comment else []
                try:
                    run("ffmpeg", ["-nostdin", *arguments, *comment, url(made)], self.path, str(self.path))
                except AudioError as failure:
                    raise OutputError(
                        f"cannot write {self.path}: {failure.message}", "write the sound alone: -o FILE.wav"
                    ) from None
                made.replace(self.path)


def new_writer(
    path: Path, rate: int, channels: int, container: str, subtype: str, origin: Path | None = None,
    comment: str = "",
) -> Writer | MediaWriter:  # fmt: skip
    """The writer for a container of :func:`~vae_se.audio.formats.output_format`.

    ``origin``: the input, of whose streams the output of ffmpeg gets copies. ``comment``: a tag of the file,
    where its format has one.
    """
    if container == FFMPEG:
        known = origin if origin is not None and is_media_name(origin) else None
        return MediaWriter(path, rate, channels, known, comment)
    return Writer(path, rate, channels, container, subtype, comment)


def read_comment(path: Path) -> str:
    """The comment of a file that ffmpeg reads; "" where there is none."""
    try:
        shown = run("ffprobe", [*SAFE, "-show_format", "-of", "json", url(path)], path, str(path))
    except AudioError:
        return ""
    tags = json.loads(shown).get("format", {}).get("tags", {})
    return next((str(value) for key, value in tags.items() if key.lower() == "comment"), "")


def _encoding(path: Path, sound: Path, origin: Path | None, media: Media | None, channels: int) -> list[str]:
    """Arguments of ffmpeg that encode ``sound`` and copy the other streams of ``origin``."""
    new = ["-protocol_whitelist", "file", "-i", url(sound)]
    if origin is None or media is None:
        return [*new, "-map", "0:a"]
    same = path.suffix.lower() == origin.suffix.lower()
    before = [*(media.pictures if path.suffix.lower() in _FILMS else ()), *media.covers]
    streams = [*(f"0:{index}" for index in before), "1:a", *(f"0:{i}" for i in media.others if same)]
    arguments = ["-copyts", *SAFE, "-i", url(origin), "-itsoffset", f"{media.start:.6f}", *new]
    for stream in streams:
        arguments += ["-map", stream]
    # The new sound has the tags (such as the language) of the old.
    arguments += ["-c", "copy", "-map_metadata", "0", "-map_metadata:s:a:0", f"0:s:{media.index}"]
    encoder = _ENCODERS.get(media.codec) if same else None
    bits = ["-b:a:0", str(max(media.bits, _LEAST_BITS * channels))] if media.codec in _LOSSY else []
    return [*arguments, "-c:a:0", encoder, *bits] if encoder else [*arguments, "-c:a:0", _default(path)]


def _default(path: PurePath) -> str:
    """An encoder for the sound in a container, where the input's codec is no guide."""
    known = {".webm": "libopus", ".mkv": "flac", ".mka": "flac", ".wma": "wmav2", ".wmv": "wmav2"}
    return known.get(path.suffix.lower(), "libmp3lame" if path.suffix.lower() == ".avi" else "aac")
