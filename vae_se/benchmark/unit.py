"""One cell of the benchmark: a method enhances a mixture, and metrics score it; failures become rows, too."""

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
from .rows import Row
from .spec import MethodSpec

METRIC_TIMEOUT = 300.0  # seconds for all metrics of one file


@dataclass(frozen=True)
class Cell:
    """A mixture and the method that is to enhance it."""

    entry: Entry
    method: MethodSpec


@dataclass(frozen=True)
class CellSettings:
    """What all cells of a run share. ``audio`` is the folder for saved audio, or None; ``threads``: of the
    enhancer, None for as many as torch is set to use."""

    metrics: tuple[str, ...]
    seed: int
    audio: Path | None = None
    threads: int | None = None


def describe(error: BaseException) -> str:
    """An error in one line: its message, with the type in front unless it is a VaeSeError."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VaeSeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def blank_row(entry: Entry, method: str) -> Row:
    """A row without results."""
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
    """A row for a cell that failed as a whole: no score has a value, and ``error`` is the reason."""
    return {**blank_row(entry, method), "scores": dict.fromkeys(metrics), "error": reason}


class Bench:
    """Runs cells in this process, one at a time; a second process computes the metrics."""

    def __init__(self, settings: CellSettings) -> None:
        self.settings = settings
        self._methods: dict[MethodSpec, Enhancing | Exception] = {}
        self._pool: ScorePool | None = None
        self._last: Mixture | None = None  # consecutive cells often share their mixture

    def run(self, cells: Sequence[Cell]) -> list[Row]:
        """One row per cell."""
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
        noisy = mixture.noisy.copy()  # a method may write into its input
        start = time.perf_counter()
        estimate = np.asarray(enhance(noisy, mixture.rate, clean=mixture.clean.copy(), name=mixture.id))
        seconds = time.perf_counter() - start
        row = blank_row(entry, spec.label)
        audio_seconds = mixture.noisy.size / mixture.rate
        timed = spec.use != "external"  # the time to read a file is not that of the program that wrote it
        row |= {"audio_seconds": round(audio_seconds, 6)}
        if timed:
            row |= {"seconds": round(seconds, 6), "rtf": round(seconds / audio_seconds, 6)}
        scores = self._scores(mixture, estimate)
        row["scores"] = {name: None if value != value else value for name, (value, _) in scores.items()}
        row["failures"] = {name: reason for name, (value, reason) in scores.items() if value != value}
        if len(row["failures"]) == len(scores):
            # The file failed, not a single metric: a silent reference, an estimate of another length.
            row["error"] = "; ".join(dict.fromkeys(row["failures"].values()))
            row["failures"] = {}
        if self.settings.audio is not None:
            self._save(spec.label, mixture.id, estimate, mixture.rate)
        return row

    def _method(self, spec: MethodSpec) -> Enhancing:
        if spec not in self._methods:
            try:
                self._methods[spec] = load_method(spec, self.settings.seed, self.settings.threads)
            except Exception as error:  # loaded once; the error is reported for every file
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
        """Write 16-bit FLAC for listening, clipped to full scale."""
        assert self.settings.audio is not None
        path = audio_path(self.settings.audio, method, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            sf.write(temporary, np.clip(samples, -1.0, 1.0), rate, subtype="PCM_16", format="FLAC")


def make(settings: CellSettings) -> Handle:
    """Make the handle of a worker; executors call this once per worker."""
    return Bench(settings).run


def audio_path(root: Path, method: str, name: str) -> Path:
    """``root/method/id.flac``. Raises AudioError for an id that leads out of the folder."""
    path = root / method / f"{name}.flac"
    if ".." in path.parts or name.startswith("/"):
        raise AudioError(f"the id {name!r} is not a valid file name", "rename the file")
    return path
