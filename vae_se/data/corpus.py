"""A folder of recordings: which files are in it, and who speaks in each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from ..audio.formats import is_audio_name
from ..errors import UsageError
from ..rng import numpy_stream

# With fewer folders than this on a level, the level holds sources or splits rather than speakers.
_FEW_FOLDERS = 4


@dataclasses.dataclass(frozen=True)
class Recording:
    """One file: its path relative to the corpus (POSIX style), size in bytes, time of change in ns, speaker."""

    path: str
    size: int
    mtime_ns: int
    speaker: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The recordings under ``root``, in order of their paths."""

    root: Path
    recordings: tuple[Recording, ...]

    @property
    def speakers(self) -> tuple[str, ...]:
        """Distinct speakers, sorted."""
        return tuple(sorted({r.speaker for r in self.recordings}))


def scan(root: str | Path) -> Corpus:
    """All files under ``root`` whose names promise a format that libsndfile reads.

    Hidden files and folders are left out. Raises UsageError where there is no such folder or no such file.
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError(f"no folder {root}", "pass a folder of clean speech (searched recursively)")
    found = sorted(
        path
        for path in root.rglob("*")
        if is_audio_name(path)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )
    if not found:
        raise UsageError(
            f"no audio files under {root}", "expected WAV, FLAC, OGG, MP3 or another format of libsndfile"
        )
    relative = [path.relative_to(root) for path in found]
    speaker = _speaker_of(relative)
    recordings = []
    for path, name in zip(found, relative, strict=True):
        stat = path.stat()
        recordings.append(Recording(name.as_posix(), stat.st_size, stat.st_mtime_ns, speaker(name)))
    return Corpus(root, tuple(recordings))


def _speaker_of(paths: Iterable[Path]) -> Callable[[Path], str]:
    """The rule that names the speaker of a path: its folder on the first level that has many folders.

    LibriSpeech is speaker/chapter/file, VCTK wav48/speaker/file, others source/speaker/file; what they
    share is that speakers are the first level with more than a few folders. Where no level has, it is the
    level with most folders; where there are no folders at all, every file counts as a speaker of its own.
    """
    folders = [path.parent.parts for path in paths]
    counts = {
        depth: len({parts[:depth] for parts in folders})
        for depth in range(1, max((len(parts) for parts in folders), default=0) + 1)
    }
    if not counts or max(counts.values()) < 2:
        return lambda path: path.as_posix()
    many = [depth for depth, count in counts.items() if count >= _FEW_FOLDERS]
    depth = many[0] if many else max(counts, key=lambda d: counts[d])
    return lambda path: "/".join(path.parent.parts[:depth])


def hold_out(corpus: Corpus, fraction: float, seed: int) -> frozenset[str]:
    """Speakers to validate on: about ``fraction`` of all, at least one, never all; the same for a seed."""
    if not 0 < fraction < 1:
        raise UsageError(f"a validation fraction of {fraction:g}", "pass a number between 0 and 1")
    speakers = corpus.speakers
    if len(speakers) < 2:
        raise UsageError(
            f"{corpus.root} holds a single speaker or file, nothing can be held out",
            "pass other speech with --valid DIR",
        )
    count = min(max(1, round(fraction * len(speakers))), len(speakers) - 1)
    order = numpy_stream(seed, "hold-out").permutation(len(speakers))
    return frozenset(speakers[i] for i in order[:count])
