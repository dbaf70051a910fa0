"""Test sets: named entries that load one by one, and where to get a set that is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ...audio.resample import resample
from ...errors import AudioError, UsageError
from ...registry import Registry
from ..files import read
from ..mixture import Mixture


class Entry(Protocol):
    """One item: the facts known without reading audio, and how to load it. Small and picklable."""

    @property
    def id(self) -> str: ...
    @property
    def snr_db(self) -> float | None: ...
    @property
    def noise_type(self) -> str | None: ...
    @property
    def identity(self) -> str:
        """Text that differs if another recording has the same id."""
        ...

    def load(self) -> Mixture:
        """The audio. Raises AudioError where it cannot be read."""
        ...


@dataclass(frozen=True)
class TestSet:
    """Entries in a fixed order. ``notes``: remarks for the user, such as files without a counterpart.

    ``write_manifest(path)`` exists for sets that were drawn; None otherwise.
    """

    __test__: ClassVar[bool] = False  # tells pytest that this is not a test class

    name: str
    entries: Sequence[Entry]
    notes: tuple[str, ...] = ()
    write_manifest: Callable[[Path], object] | None = None

    def fingerprint(self) -> str:
        """Hexadecimal digest of all entries: id, SNR, noise type and identity."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(f"{entry.id}\t{entry.snr_db}\t{entry.noise_type}\t{entry.identity}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Adapter:
    """How to open one kind of test set: ``build(options, data_root)`` with the options of ``[data]``.

    ``source`` says where the set is available, under which ``licence``.
    """

    name: str
    options: type
    build: Callable[[Any, Path], TestSet]
    source: str
    licence: str

    def open(self, table: Mapping[str, Any], data_root: Path) -> TestSet:
        """The test set of a ``[data]`` table without its key ``set``; paths are relative to ``data_root``."""
        from ..table import from_table

        return self.build(from_table(self.options, table, "[data]"), data_root)


TESTSETS: Registry[Adapter] = Registry("test set")


def adapter(name: str, options: type, *, source: str, licence: str) -> Callable[[Any], Any]:
    """Decorator that registers ``build(options, data_root) -> TestSet`` as an adapter."""

    def register(build: Callable[[Any, Path], TestSet]) -> Callable[[Any, Path], TestSet]:
        TESTSETS.add(name)(Adapter(name, options, build, source, licence))
        return build

    return register


def need(name: str, path: Path, what: str = "folder") -> Path:
    """``path``, if it exists. Otherwise raises UsageError with the source and the licence of the test set."""
    if path.exists():
        return path
    known = TESTSETS[name]
    raise UsageError(
        f"no {what} {path}: the test set {name} is missing",
        f"get it from {known.source} ({known.licence}); then set its path in [data], or --data-root",
    )


@dataclass(frozen=True)
class PairEntry:
    """A clean and a noisy file of equal rate and length, resampled to ``rate`` Hz (0: not resampled)."""

    id: str
    clean: Path
    noisy: Path
    rate: int = 16000
    snr_db: float | None = None
    noise_type: str | None = None
    noise: Path | None = None

    @property
    def identity(self) -> str:
        """The sizes of the files, which differ between releases of a set."""
        return " ".join(str(p.stat().st_size) if p.is_file() else "-" for p in (self.clean, self.noisy))

    def load(self) -> Mixture:
        """The audio. Raises AudioError for unreadable files, and for unequal rates or lengths."""
        clean, rate = read(self.clean)
        noisy, rate_noisy = read(self.noisy)
        parts = [clean, noisy]
        self._alike("noisy", rate, clean, rate_noisy, noisy)
        if self.noise is not None:
            noise, rate_noise = read(self.noise)
            self._alike("noise", rate, clean, rate_noise, noise)
            parts.append(noise)
        target = self.rate or rate
        parts = [resample(part, rate, target).astype(np.float32) for part in parts]
        return Mixture(
            id=self.id,
            clean=parts[0],
            noisy=parts[1],
            noise=parts[2] if self.noise is not None else None,
            rate=target,
            snr_db=self.snr_db,
            noise_type=self.noise_type,
        )

    def _alike(self, what: str, rate: int, clean: np.ndarray, other_rate: int, other: np.ndarray) -> None:
        if other_rate != rate:
            raise AudioError(f"sample rates differ: clean {rate} Hz, {what} {other_rate} Hz", "resample one")
        if other.size != clean.size:
            raise AudioError(
                f"unequal lengths: clean {clean.size}, {what} {other.size} samples", "align the files"
            )


def pair_stems(clean: Sequence[str], noisy: Sequence[str]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Pairs (stem, clean file, noisy file) of equal path without suffix, and notes on unpaired files.

    Pairing by stem, and not by sort order, is robust to a missing file. Raises UsageError where two files
    have the same stem.

    >>> pair_stems(["a.wav", "b.wav"], ["a.flac"])
    ([('a', 'a.wav', 'a.flac')], ['clean without noisy: b.wav'])
    """

    def stems(paths: Sequence[str], which: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            stem = str(Path(path).with_suffix("")).replace("\\", "/")
            if stem in found:
                raise UsageError(f"{which}: {found[stem]} and {path} have the same stem", "remove one")
            found[stem] = path
        return found

    a, b = stems(clean, "clean"), stems(noisy, "noisy")
    pairs = [(stem, a[stem], b[stem]) for stem in sorted(a.keys() & b.keys())]
    orphans = [f"clean without noisy: {a[s]}" for s in sorted(a.keys() - b.keys())]
    return pairs, orphans + [f"noisy without clean: {b[s]}" for s in sorted(b.keys() - a.keys())]
