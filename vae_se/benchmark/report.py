"""Results of one protocol, merged from one or more files of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, nearest
from .rows import Row, read_meta, read_rows

REFERENCE = "noisy"


@dataclass(frozen=True)
class Results:
    """Merged rows ``cells[id, method]``; ids are sorted, methods in the order of the protocol."""

    cells: dict[tuple[str, str], Row]
    ids: tuple[str, ...]
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    metas: tuple[dict[str, Any], ...]
    sources: tuple[Path, ...]

    @property
    def meta(self) -> dict[str, Any]:
        """The header of the first file; its protocol and test set are those of all files."""
        return self.metas[0]

    def use(self, method: str) -> str:
        """The implementation of a label."""
        for meta in self.metas:
            if method in meta["methods"]:
                return str(meta["methods"][method]["use"])
        return method

    def oracle(self, method: str) -> bool:
        """Whether a method uses the clean speech."""
        from ..baselines import BASELINES

        return self.use(method) in BASELINES and BASELINES[self.use(method)].oracle

    def check(self, method: str) -> str:
        """``method``, if there are results of it; otherwise UsageError with the nearest name."""
        if method not in self.methods:
            raise UsageError(f"no results of method {method!r}", nearest(method, self.methods))
        return method

    def values(self, method: str, metric: str, ids: Sequence[str] | None = None) -> np.ndarray:
        """Scores (len(ids),), NaN where there is no value; by default of all ids."""
        out = np.full(len(self.ids if ids is None else ids), np.nan)
        for index, name in enumerate(self.ids if ids is None else ids):
            row = self.cells.get((name, method))
            value = None if row is None else row["scores"].get(metric)
            if value is not None:
                out[index] = value
        return out

    def groups(self, key: str) -> dict[float | str, tuple[str, ...]]:
        """Ids by ``snr_db`` or ``noise``, sorted; ids for which it is unknown are in no group."""
        known: dict[str, float | str] = {}
        for (name, _), row in self.cells.items():
            if row[key] is not None:
                known[name] = row[key]
        found: dict[float | str, list[str]] = {}
        for name in self.ids:
            if name in known:
                found.setdefault(known[name], []).append(name)
        return {value: tuple(found[value]) for value in sorted(found)}

    def missing(self) -> int:
        """Number of cells that were not run."""
        return len(self.ids) * len(self.methods) - len(self.cells)

    def failures(self) -> dict[str, dict[str, int]]:
        """Method to {reason: count}; a reason is the error of a cell, or ``metric: reason``."""
        out: dict[str, dict[str, int]] = {method: {} for method in self.methods}
        for (_, method), row in self.cells.items():
            reasons = [row["error"]] if row["error"] else [f"{m}: {why}" for m, why in row["failures"].items()]
            for reason in reasons:
                out[method][reason] = out[method].get(reason, 0) + 1
        return out


def find_rows(paths: Sequence[str | Path]) -> list[Path]:
    """Files of rows; a folder stands for all files of rows in it. Raises UsageError where there is none."""
    found: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(path.glob("rows*.jsonl")) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise UsageError(f"no results in {path}", "give a folder or rows.jsonl made by vae-se benchmark")
        found += inside
    return list(dict.fromkeys(found))


def load_results(paths: Sequence[str | Path]) -> Results:
    """Merge files of rows (shards, methods added later). A later row of a cell replaces an earlier one.

    Raises UsageError where the files belong to different protocols or recordings, or contain no row.
    """
    sources = find_rows(paths)
    metas = [read_meta(path) for path in sources]
    for path, meta in zip(sources, metas, strict=True):
        for what, key in (("protocol", "digest"), ("testset", "fingerprint")):
            if meta[what][key] != metas[0][what][key]:
                raise UsageError(f"{path} and {sources[0]} differ in their {what}", "report them one by one")
    labels: dict[str, Any] = {}
    for path, meta in zip(sources, metas, strict=True):
        for label, spec in meta["methods"].items():
            if labels.setdefault(label, spec) != spec:
                raise UsageError(f"{path}: {label} was run with other options than in {sources[0]}")
    cells: dict[tuple[str, str], Row] = {}
    for path in sources:
        for row in read_rows(path)[0]:
            cells[row["id"], row["method"]] = row
    if not cells:
        raise UsageError(f"no results in {', '.join(map(str, sources))} yet")
    present = {method for _, method in cells}
    return Results(
        cells=cells,
        ids=tuple(sorted({name for name, _ in cells})),
        methods=tuple(label for label in labels if label in present),
        metrics=tuple(metas[0]["metrics"]),
        metas=tuple(metas),
        sources=tuple(sources),
    )
