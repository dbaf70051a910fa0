"""One cell of the benchmark: a mixture through a method, scored; whatever goes wrong becomes a row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from ..data.mixture import Mixture
from ..data.testsets import Entry
from ..errors import AudioError, VaeSeError
from ..execution import Handle
from ..metrics import ScorePool, refused
from ..storage.atomic import replacing
from .methods import Enhancing, load_method
from .protocol import MethodSpec
from .rows import Row

METRIC_TIMEOUT = 300.0  # seconds for all metrics of one file


@dataclass(frozen=True)
class Cell:
    """A mixture and a method that it is still to go through."""

    entry: Entry
    method: MethodSpec


@dataclass(frozen=True)
class Settings:
    """What all cells of a run share. ``audio`` is the folder for saved audio, if any is saved."""

    metrics: tuple[str, ...]
    seed: int
    audio: Path | None = None


def describe(error: BaseException) -> str:
    """One line for an error; the type where the message alone would not say."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VaeSeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def blank_row(entry: Entry, method: str) -> Row:
    """A row with no result yet."""
    return {
        "id": entry.id,
        "method": method,
        "snr_db": entry.snr_db,
        "noise": entry.noise_type,
        "audio_seconds": None,
        "seconds": None,
        "rtf": None,
        "scores": {},
        "failures": {},
        "error": None,
    }


def failed_row(entry: Entry, method: str, metrics: tuple[str, ...], reason: str) -> Row:
    """A row for a cell that gave nothing: no score has a value, and the reason is said once."""
    return {**blank_row(entry, method), "scores": dict.fromkeys(metrics), "error": reason}


class Bench:
    """Runs cells in this process; metrics run in one process beside it, one at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._methods: dict[MethodSpec, Enhancing | Exception] = {}
        self._pool: ScorePool | None = None
        self._last: Mixture | None = None  # the next cell is often another method on the same mixture

    def run(self, cells: Sequence[Cell]) -> list[Row]:
        """One row a cell."""
        return [self._row(cell.entry, cell.method) for cell in cells]

    def _row(self, entry: Entry, spec: MethodSpec) -> Row:
        row = failed_row(entry, spec.label, self.settings.metrics, "")
        try:
            mixture = self._mixture(entry)
            row["audio_seconds"] = mixture.noisy.size / mixture.rate
            return self._cell(entry, mixture, spec)
        except Exception as error:  # any failure of one cell is a row
            return {**row, "error": describe(error)}

    def _mixture(self, entry: Entry) -> Mixture:
        if self._last is None or self._last.id != entry.id:
            mixture = entry.load()
            if self.settings.audio is not None:
                self._save("clean", mixture.id, mixture.clean, mixture.rate)
            self._last = mixture
        return self._last

    def _cell(self, entry: Entry, mixture: Mixture, spec: MethodSpec) -> Row:
        enhance = self._method(spec)
        noisy = mixture.noisy.copy()  # a method that writes into its input must not reach the next one
        start = time.perf_counter()
        estimate = np.asarray(enhance(noisy, mixture.rate, clean=mixture.clean.copy(), name=mixture.id))
        seconds = time.perf_counter() - start
        row = blank_row(entry, spec.label)
        audio_seconds = mixture.noisy.size / mixture.rate
        timed = spec.use != "external"  # reading a file says nothing about who wrote it
        row |= {"audio_seconds": round(audio_seconds, 6)}
        if timed:
            row |= {"seconds": round(seconds, 6), "rtf": round(seconds / audio_seconds, 6)}
        scores = self._scores(mixture, estimate)
        row["scores"] = {name: None if value != value else value for name, (value, _) in scores.items()}
        row["failures"] = {name: reason for name, (value, reason) in scores.items() if value != value}
        if len(row["failures"]) == len(scores):
            # A silent reference, an estimate of another length: not one score failed but the file.
            row["error"] = "; ".join(dict.fromkeys(row["failures"].values()))
            row["failures"] = {}
        if self.settings.audio is not None:
            self._save(spec.label, mixture.id, estimate, mixture.rate)
        return row

    def _method(self, spec: MethodSpec) -> Enhancing:
        if spec not in self._methods:
            try:
                self._methods[spec] = load_method(spec, self.settings.seed)
            except Exception as error:  # said again for every file, tried once
                self._methods[spec] = error
        loaded = self._methods[spec]
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    def _scores(self, mixture: Mixture, estimate: np.ndarray) -> dict[str, Any]:
        names = self.settings.metrics
        if estimate.shape != mixture.clean.shape:
            reason = f"unequal lengths: estimate {estimate.shape}, reference {mixture.clean.shape} samples"
            return dict(refused(names, reason))
        if self._pool is None:
            self._pool = ScorePool(1, timeout=METRIC_TIMEOUT)
        known = {"noise": mixture.noise} if mixture.noise is not None else {"noisy": mixture.noisy}
        return dict(self._pool.submit(names, mixture.clean, estimate, mixture.rate, **known).result())

    def _save(self, method: str, name: str, samples: np.ndarray, rate: int) -> None:
        """16-bit FLAC for listening; what exceeds full scale is limited."""
        assert self.settings.audio is not None
        path = audio_path(self.settings.audio, method, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            sf.write(temporary, np.clip(samples, -1.0, 1.0), rate, subtype="PCM_16", format="FLAC")


def make(settings: Settings) -> Handle:
    """What an executor calls in every worker."""
    return Bench(settings).run


def audio_path(root: Path, method: str, name: str) -> Path:
    """``root/method/id.flac``; an id that would lead out of the folder raises :class:`AudioError`."""
    path = root / method / f"{name}.flac"
    if ".." in path.parts or name.startswith("/"):
        raise AudioError(f"the id {name!r} is no file name", "rename the file")
    return path
