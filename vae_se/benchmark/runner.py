"""Runs a protocol: every method on every mixture, in the processes of an executor."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.testsets import TESTSETS, Entry, TestSet
from ..deprecated import renamed_attribute
from ..errors import UsageError
from ..execution import Died, Executor, Shard
from ..execution.local import Processes
from .environment import machine, versions
from .methods import describe_method
from .protocol import Protocol
from .rows import Row, RowFile, meta_path, read_meta, read_rows, write_json
from .unit import Cell, CellSettings, failed_row, make

Progress = Callable[[int, int, Row | None], None]
TIMEOUT = 1800.0  # seconds for one cell, its metrics included


@dataclass(frozen=True)
class RunOptions:
    """How a protocol is run: where to, by which executor, and which part of it.

    ``threads``: of the enhancer in each worker; None: as many as torch is set to use there.
    """

    out: Path
    data_root: Path
    executor: Executor = field(default_factory=lambda: Processes(1, TIMEOUT))
    threads: int | None = None
    shard: Shard = field(default_factory=Shard)
    resume: bool = False
    retry_failed: bool = False
    limit: int | None = None
    save_audio: bool = False


@dataclass
class RunOutcome:
    """The result of a run.

    ``rows``: the file of rows; ``total`` and ``made``: cells to run and cells done in this run; ``failed``:
    rows with an error, those of earlier runs included; ``notes``: remarks of the test set.
    """

    rows: Path
    total: int = 0
    made: int = 0
    failed: list[Row] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def rows_path(options: RunOptions) -> Path:
    """The file of rows: rows.jsonl, or one file per shard."""
    which, of = options.shard.which, options.shard.of
    return options.out / ("rows.jsonl" if of == 1 else f"rows-{which}of{of}.jsonl")


def run(protocol: Protocol, options: RunOptions, progress: Progress | None = None) -> RunOutcome:
    """Run a protocol; every row is written as soon as it is made.

    ``progress(done, total, row)`` is called at the start (with no row) and after every row. A cell that fails
    is a row with an ``error``. Raises UsageError for results that exist already or belong to another
    protocol, and OutputError where they cannot be written.
    """
    testset = TESTSETS[protocol.data_set].open(protocol.data, options.data_root)
    path = rows_path(options)
    before, size = _earlier(path, protocol, testset, options)
    entries = list(options.shard.of_all(testset.entries[: options.limit]))
    done = {(row["id"], row["method"]) for row in before if not (options.retry_failed and row["error"])}
    cells = _cells(entries, protocol, done)
    _write_meta(path, protocol, testset, options)
    if testset.write_manifest is not None:
        testset.write_manifest(options.out / "manifest.jsonl")
    wanted = {(entry.id, spec.label) for entry in entries for spec in protocol.methods}
    failed = {
        (row["id"], row["method"]): row
        for row in before
        if row["error"] and (row["id"], row["method"]) in wanted
    }
    outcome = RunOutcome(path, total=len(cells), notes=testset.notes)

    def keep(row: Row) -> None:
        rows.append(row)
        outcome.made += 1
        key = (row["id"], row["method"])
        failed.pop(key, None)
        if row["error"]:
            failed[key] = row
        if progress is not None:
            progress(outcome.made, outcome.total, row)

    audio = options.out / "audio" if options.save_audio else None
    settings = CellSettings(protocol.metrics, protocol.seed, audio, options.threads)
    rows = RowFile(path, size)
    if progress is not None:
        progress(0, outcome.total, None)
    try:
        for row in _rows(cells, settings, options.executor):
            keep(row)
    finally:
        rows.close()
    outcome.failed = list(failed.values())
    return outcome


def _earlier(
    path: Path, protocol: Protocol, testset: TestSet, options: RunOptions
) -> tuple[list[Row], int | None]:
    """Rows of the run that this one continues, and the size of the file without an incomplete last line.

    Raises UsageError where rows exist without --resume, or where they are not comparable.
    """
    if not path.exists() or path.stat().st_size == 0:
        return [], None
    if not options.resume:
        raise UsageError(f"{path} holds results already", "--resume continues them; --out DIR writes elsewhere")
    meta = read_meta(path)
    if meta["protocol"]["digest"] != protocol.digest():
        raise UsageError(
            f"{path} belongs to another protocol", "data, metrics or seed changed: use another --out"
        )
    if meta["testset"]["fingerprint"] != testset.fingerprint():
        raise UsageError(f"{path} belongs to other recordings", "the test set changed: use another --out")
    for spec in protocol.methods:
        earlier = meta["methods"].get(spec.label)
        now = describe_method(spec, protocol.seed)
        if earlier is not None and _given(earlier) != _given(now):
            before, after = _given(earlier), _given(now)
            changed = [key for key in before | after if before.get(key) != after.get(key)]
            raise UsageError(
                f"{path}: {spec.label} was run with other {' and '.join(changed)}",
                "give it another label or --out",
            )
    return read_rows(path)


def _given(about: dict[str, Any]) -> dict[str, Any]:
    """A method's description without settings that are None, so that a setting added later changes nothing."""
    if "settings" not in about:
        return about
    return {**about, "settings": {k: v for k, v in about["settings"].items() if v is not None}}


def _cells(entries: Sequence[Entry], protocol: Protocol, done: set[tuple[str, str]]) -> list[Cell]:
    seen = set()
    for entry in entries:
        if entry.id in seen:
            raise UsageError(f"two recordings have the id {entry.id}", "rename one")
        seen.add(entry.id)
    return [
        Cell(entry, spec)
        for entry in entries
        for spec in protocol.methods
        if (entry.id, spec.label) not in done
    ]


def _rows(cells: Sequence[Cell], settings: CellSettings, executor: Executor) -> Iterator[Row]:
    """The rows as they are made; a cell whose process dies or hangs gives a failed row."""
    with closing(executor.run(functools.partial(make, settings), ([cell] for cell in cells))) as results:
        for number, (row,) in results:
            cell = cells[number]
            if isinstance(row, Died):
                label = cell.method.label
                row = failed_row(cell.entry, label, settings.metrics, f"{label}: {row.reason}")
            yield row


def _write_meta(path: Path, protocol: Protocol, testset: TestSet, options: RunOptions) -> None:
    """Write the header: protocol, test set, methods, and every run that adds rows."""
    meta: dict[str, Any] = {"runs": [], "methods": {}}
    if path.exists() and path.stat().st_size and meta_path(path).exists():
        meta = read_meta(path)
    meta |= {
        "format": "vae-se results 1",
        "protocol": {
            "name": protocol.name,
            "description": protocol.description,
            "digest": protocol.digest(),
            "set": protocol.data_set,
            "data": dict(protocol.data),
        },
        "metrics": list(protocol.metrics),
        "seed": protocol.seed,
        "testset": {"entries": len(testset.entries), "fingerprint": testset.fingerprint()},
    }
    meta["methods"] |= {spec.label: describe_method(spec, protocol.seed) for spec in protocol.methods}
    meta["runs"].append(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "methods": [spec.label for spec in protocol.methods],
            "executor": str(options.executor),
            "shard": str(options.shard),
            "versions": versions(),
            "machine": machine(),
        }
    )
    write_json(meta_path(path), meta)


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"Options": "RunOptions", "Outcome": "RunOutcome"})
