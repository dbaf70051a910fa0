"""A protocol is run: every mixture through every method, on as many processes as asked for."""

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
from ..errors import UsageError
from ..execution import Died, Executor, Shard
from ..execution.local import Processes
from .environment import machine, versions
from .methods import describe_method
from .protocol import Protocol
from .rows import Row, RowFile, meta_path, read_meta, read_rows, write_json
from .unit import Cell, Settings, failed_row, make

Progress = Callable[[int, int, Row | None], None]
TIMEOUT = 1800.0  # seconds for one file through one method, its scores included


@dataclass(frozen=True)
class Options:
    """How a protocol is run."""

    out: Path
    data_root: Path
    executor: Executor = field(default_factory=lambda: Processes(1, TIMEOUT))
    shard: Shard = field(default_factory=Shard)
    resume: bool = False
    retry_failed: bool = False
    limit: int | None = None
    save_audio: bool = False


@dataclass
class Outcome:
    """What became of a run: the file of rows, how many were made now, which of all have an error."""

    rows: Path
    total: int = 0
    made: int = 0
    failed: list[Row] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def rows_path(options: Options) -> Path:
    """rows.jsonl, or a name of its own for every shard."""
    which, of = options.shard.which, options.shard.of
    return options.out / ("rows.jsonl" if of == 1 else f"rows-{which}of{of}.jsonl")


def run(protocol: Protocol, options: Options, progress: Progress | None = None) -> Outcome:
    """Run a protocol; ``progress(done, total, row)`` is called at the start (without a row) and
    after every row.

    Rows are in the file as soon as they are made. Raises :class:`UsageError` for results that exist
    already or belong to another protocol, :class:`~vae_se.errors.OutputError` where they cannot be written.
    A file or a method that fails is a row with its ``error``.
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
    outcome = Outcome(path, total=len(cells), notes=testset.notes)

    def keep(row: Row) -> None:
        rows.append(row)
        outcome.made += 1
        key = (row["id"], row["method"])
        failed.pop(key, None)
        if row["error"]:
            failed[key] = row
        if progress is not None:
            progress(outcome.made, outcome.total, row)

    settings = Settings(protocol.metrics, protocol.seed, options.out / "audio" if options.save_audio else None)
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
    path: Path, protocol: Protocol, testset: TestSet, options: Options
) -> tuple[list[Row], int | None]:
    """Rows of a run that this one continues, and how many bytes of the file are good."""
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
    """A method's description less the settings that are left open: one that was added later changes nothing."""
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


def _rows(cells: Sequence[Cell], settings: Settings, executor: Executor) -> Iterator[Row]:
    """The rows as they are made; a cell of which the process dies or that hangs is one that failed."""
    with closing(executor.run(functools.partial(make, settings), ([cell] for cell in cells))) as results:
        for number, (row,) in results:
            cell = cells[number]
            if isinstance(row, Died):
                label = cell.method.label
                row = failed_row(cell.entry, label, settings.metrics, f"{label}: {row.reason}")
            yield row


def _write_meta(path: Path, protocol: Protocol, testset: TestSet, options: Options) -> None:
    """The header: what the rows are rows of. Every run that adds to them is listed."""
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
