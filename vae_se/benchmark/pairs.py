"""Scores of files that any program wrote: pairs of clean and enhanced files, matched by their names."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.files import list_audio, read
from ..errors import AudioError, UsageError
from ..metrics import METRICS, ScorePool, refused
from ..metrics.pool import Scores
from .statistics import direction, interval
from .tables import aligned, heading, number

TIMEOUT = 300.0  # seconds for all metrics of one file


@dataclass(frozen=True)
class FilePair:
    """Files of one recording; ``noisy`` is None where it is not known."""

    name: str
    clean: Path
    enhanced: Path
    noisy: Path | None = None


@dataclass(frozen=True)
class PairScores:
    """The scores of an enhanced file, and of the noisy one where there is one."""

    name: str
    enhanced: Scores
    noisy: Scores | None = None

    @property
    def failed(self) -> str:
        """The reason where no metric has a value, or ""."""
        reasons = {score.reason for score in self.enhanced.values()}
        return "" if "" in reasons else "; ".join(sorted(reasons))


def find_pairs(clean: Path, enhanced: Path, noisy: Path | None = None) -> list[FilePair]:
    """The pairs of three files, or of three folders by the names of their files without the extension.

    A name may be followed by ``_`` or ``-`` and more: ``talk_enhanced.flac`` belongs to ``talk.wav``. Raises
    UsageError where an enhanced file belongs to no clean one, or two to the same.
    """
    if clean.is_file() and enhanced.is_file() and (noisy is None or noisy.is_file()):
        return [FilePair(clean.stem, clean, enhanced, noisy)]
    for folder in (clean, enhanced, *([noisy] if noisy is not None else [])):
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", "give folders, or one file each")
    known = _by_stem(clean)
    pairs = _matched(enhanced, known)
    mixtures = {} if noisy is None else _matched(noisy, known)
    if not pairs:
        raise UsageError(
            f"no file of {enhanced} is named after one of {clean}", "names are compared without their extension"
        )
    absent = [stem for stem in pairs if noisy is not None and stem not in mixtures]
    if absent:
        raise UsageError(f"{noisy} has no file for {absent[0]}", f"{len(absent)} of {len(pairs)} are missing")
    return [FilePair(stem, known[stem], pairs[stem], mixtures.get(stem)) for stem in sorted(pairs)]


def _by_stem(folder: Path) -> dict[str, Path]:
    """The files of a folder by the names of the files; by their paths in it where two names are equal."""
    paths = [Path(path) for path in list_audio(folder)]
    stems = [path.stem for path in paths]
    keys = stems if len(set(stems)) == len(stems) else [path.with_suffix("").as_posix() for path in paths]
    if len(set(keys)) != len(keys):
        raise UsageError(f"two files in {folder} differ in their extension only", "move one of them away")
    return {key: folder / path for key, path in zip(keys, paths, strict=True)}


def _matched(folder: Path, known: Mapping[str, Path]) -> dict[str, Path]:
    """The files of a folder by the name of the clean file to which each belongs."""
    found: dict[str, Path] = {}
    for key, path in _by_stem(folder).items():
        owners = [stem for stem in known if key == stem or key.startswith((f"{stem}_", f"{stem}-"))]
        if not owners:
            continue
        owner = max(owners, key=len)
        if owner in found:
            raise UsageError(
                f"{found[owner].name} and {path.name} both belong to {owner}", "give each system its own folder"
            )
        found[owner] = path
    return found


def score_pairs(
    pairs: Sequence[FilePair],
    metrics: Sequence[str],
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[PairScores]:
    """Score pairs in ``jobs`` processes; a file that cannot be scored has NaN and a reason.

    ``progress`` is called with the number of pairs done.
    """
    results = []
    with ScorePool(jobs, timeout=TIMEOUT) as pool:
        waiting = [(pair.name, _submit(pool, pair, metrics)) for pair in pairs]
        for name, futures in waiting:
            scores = [future if isinstance(future, dict) else future.result() for future in futures]
            results.append(PairScores(name, scores[0], scores[1] if len(scores) > 1 else None))
            if progress is not None:
                progress(len(results))
    return results


def _submit(pool: ScorePool, pair: FilePair, metrics: Sequence[str]) -> list[Scores | Future[Scores]]:
    """The scores of the enhanced and of the noisy file, as soon as they are computed."""
    try:
        clean, rate = read(pair.clean)
        noisy = None if pair.noisy is None else _read_like(pair.noisy, rate)
        enhanced = _read_like(pair.enhanced, rate)
    except AudioError as error:
        return [refused(metrics, error.message)] * (1 if pair.noisy is None else 2)
    found: list[Scores | Future[Scores]] = [pool.submit(metrics, clean, enhanced, rate, noisy=noisy)]
    if noisy is not None:
        found.append(pool.submit(metrics, clean, noisy, rate, noisy=noisy))
    return found


def _read_like(path: Path, rate: int) -> np.ndarray:
    samples, own = read(path)
    if own != rate:
        raise AudioError(f"sample rates differ: {path} has {own} Hz, the clean file {rate} Hz", "resample it")
    return samples


def _values(results: Sequence[PairScores], metric: str, which: str) -> np.ndarray:
    """Values (files,) of a metric: of the enhanced or noisy files, or of their difference; NaN for failures."""
    enhanced = np.array([one.enhanced[metric].value for one in results])
    if which == "enhanced":
        return enhanced
    noisy = np.array([np.nan if one.noisy is None else one.noisy[metric].value for one in results])
    return noisy if which == "noisy" else enhanced - noisy


def summary_rows(results: Sequence[PairScores], metrics: Sequence[str]) -> list[dict[str, object]]:
    """A row for each metric and each of enhanced, noisy and change: mean, 95 % interval, files, failed."""
    rows: list[dict[str, object]] = []
    with_noisy = any(one.noisy is not None for one in results)
    for metric in metrics:
        for which in ("enhanced", *(("noisy", "change") if with_noisy else ())):
            values = _values(results, metric, which)
            known = np.isfinite(values)
            names = [one.name for one, there in zip(results, known, strict=True) if there]
            low, high = interval(values[known], metric, *names)
            mean = float(values[known].mean()) if known.any() else float("nan")
            rows.append({
                "metric": metric, "unit": METRICS[metric].unit,
                "better": direction(metric), "what": which,
                "mean": mean, "low": low, "high": high,
                "files": int(known.sum()), "failed": int((~known).sum()),
            })  # fmt: skip
    return rows


def summary_text(results: Sequence[PairScores], metrics: Sequence[str]) -> str:
    """A table with a line for each metric: mean and 95 % bootstrap interval."""
    rows = summary_rows(results, metrics)
    columns = list(dict.fromkeys(str(row["what"]) for row in rows))
    lines = [["metric", "unit", *columns, "files"]]
    for metric in metrics:
        own = {row["what"]: row for row in rows if row["metric"] == metric}
        cells = [_cell(own[what], signed=what == "change") for what in columns]
        lines.append([heading(metric), METRICS[metric].unit, *cells, str(own["enhanced"]["files"])])
    head = f"{len(results)} files: mean and 95 % interval of the mean (bootstrap over files)"
    return "\n".join([head, *aligned(lines)])


def _cell(row: Mapping[str, object], signed: bool) -> str:
    """Mean and interval of a row of :func:`summary_rows`."""
    mean, low, high = (number(float(str(row[key])), signed) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def summary_csv(results: Sequence[PairScores], metrics: Sequence[str]) -> str:
    """:func:`summary_rows` as CSV; empty where there is no value."""
    return _csv(summary_rows(results, metrics))


def files_csv(results: Sequence[PairScores], metrics: Sequence[str]) -> str:
    """CSV with a line for each file and metric, and the reason where it has no value."""
    return _csv([
        {
            "file": one.name, "metric": metric, "enhanced": one.enhanced[metric].value,
            "noisy": None if one.noisy is None else one.noisy[metric].value,
            "reason": one.enhanced[metric].reason,
        }
        for one in results
        for metric in metrics
    ])  # fmt: skip


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _plain(value) for key, value in row.items()})
    return out.getvalue()


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
