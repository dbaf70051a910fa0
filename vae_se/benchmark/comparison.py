"""Several methods on one noisy recording: times, figures without a reference, and a listening page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from ..audio.level import active_rms
from ..extras import missing
from ..metrics import CannotScore
from ..metrics.dnsmos import NAMES, dnsmos_scores
from .figures import FIGURES
from .methods import load_method
from .report import REFERENCE, Results
from .rows import Row
from .spec import MethodSpec
from .tables import aligned, number
from .unit import audio_path, describe

_FLOOR_DB = -120.0
_FRAME_SECONDS = 0.02


@dataclass(frozen=True)
class Recording:
    """One channel (T,) at ``rate`` Hz, float32; ``name`` is that of the file."""

    name: str
    samples: np.ndarray
    rate: int


def figures(noisy: np.ndarray, enhanced: np.ndarray, rate: int) -> dict[str, float]:
    """Figures of an enhanced recording (T,) that need no reference.

    ``level_db``: change of the active level (ITU-T P.56), near 0 where the speech is kept. ``pauses_db``: level
    of the quietest tenth of the 20 ms frames below the active level of the same recording; lower is quieter.
    With the extra dnsmos also its scores, predictions of listeners' ratings from 1 to 5.
    """
    found = {"level_db": _db(active_rms(enhanced, rate)) - _db(active_rms(noisy, rate))}
    found["pauses_db"] = _db(_quietest(enhanced, rate)) - _db(active_rms(enhanced, rate))
    if not missing(["speechmos"]):
        try:
            found |= dnsmos_scores(np.asarray(enhanced, np.float64), rate)
        except CannotScore:
            found |= dict.fromkeys(NAMES, float("nan"))
    return found


def _db(rms: float) -> float:
    return max(_FLOOR_DB, 20 * float(np.log10(max(rms, 1e-12))))


def _quietest(samples: np.ndarray, rate: int) -> float:
    """RMS of the quietest tenth of the frames."""
    length = max(1, int(_FRAME_SECONDS * rate))
    count = max(1, samples.size // length)
    power = np.square(samples[: count * length].astype(np.float64)).reshape(count, -1).mean(1)
    return float(np.sqrt(np.sort(power)[: max(1, count // 10)].mean()))


def compare(recordings: Sequence[Recording], specs: Sequence[MethodSpec], seed: int, folder: Path) -> Results:
    """Enhance recordings by every method; the sounds are saved in ``folder``, for the listening page.

    Each method is warmed up on the first second before its time is taken. A method that fails has a row with
    an error.
    """
    cells: dict[tuple[str, str], Row] = {}
    for recording in recordings:
        _keep(cells, folder, recording, REFERENCE, recording.samples, None)
    for spec in specs:
        try:
            method = load_method(spec, seed)
            first = recordings[0]
            method(first.samples[: first.rate].copy(), first.rate, clean=first.samples[:0], name="")
        except Exception as error:  # any failure of a method is shown in its row
            for one in recordings:
                cells[one.name, spec.label] = _failed(one, spec.label, error)
            continue
        for one in recordings:
            started = time.perf_counter()
            try:
                made = np.asarray(method(one.samples.copy(), one.rate, clean=one.samples[:0], name=one.name))
            except Exception as error:
                cells[one.name, spec.label] = _failed(one, spec.label, error)
                continue
            _keep(cells, folder, one, spec.label, made, time.perf_counter() - started)
    measured = {name for row in cells.values() for name in row["scores"]}
    metrics = tuple(name for name in (*NAMES, *FIGURES) if name in measured)
    meta = {
        "protocol": {"name": ", ".join(one.name for one in recordings), "description": _ABOUT},
        "methods": {spec.label: {"use": spec.use} for spec in specs},
    }
    methods = (REFERENCE, *(spec.label for spec in specs))
    ids = tuple(sorted(one.name for one in recordings))
    return Results(cells, ids, methods, metrics, (meta,), (folder / "rows.jsonl",))


_ABOUT = "Figures without a reference: they describe a sound, and do not replace listening."


def _keep(
    cells: dict[tuple[str, str], Row],
    folder: Path,
    recording: Recording,
    label: str,
    samples: np.ndarray,
    seconds: float | None,
) -> None:
    """Save a sound and make its row."""
    path = audio_path(folder / "audio", label, recording.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.clip(samples, -1.0, 1.0), recording.rate, subtype="PCM_16", format="FLAC")
    row = _blank(recording, label)
    row["scores"] = {
        name: value if np.isfinite(value) else None
        for name, value in figures(recording.samples, samples, recording.rate).items()
    }
    if seconds is not None:
        row |= {"seconds": seconds, "rtf": seconds / row["audio_seconds"]}
    cells[recording.name, label] = row


def _blank(recording: Recording, label: str) -> Row:
    """A row without results."""
    return {
        "id": recording.name, "method": label, "snr_db": None, "noise": None,
        "audio_seconds": recording.samples.size / recording.rate, "seconds": None, "rtf": None,
        "scores": {}, "failures": {}, "error": None,
    }  # fmt: skip


def _failed(recording: Recording, label: str, error: Exception) -> Row:
    return {**_blank(recording, label), "error": describe(error)}


def comparison_text(results: Results) -> str:
    """A table with a line for each recording and method."""
    lines = [
        [
            "",
            "seconds",
            "real-time factor",
            *(f"{name}, {FIGURES[name].unit if name in FIGURES else 'MOS'}" for name in results.metrics),
        ]
    ]
    for name in results.ids:
        for method in results.methods:
            row = results.cells[name, method]
            label = method if len(results.ids) == 1 else f"{name}: {method}"
            if row["error"]:
                lines.append([f"{label}: failed", *["–"] * (len(lines[0]) - 1)])
                continue
            values = (row["scores"].get(metric) for metric in results.metrics)
            lines.append([label, number(row["seconds"]), number(row["rtf"]), *map(number, values)])
    return "\n".join(aligned(lines))
