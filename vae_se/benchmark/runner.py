"""A protocol is run: every mixture through every method, on as many processes as asked for."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from ..data.testsets import TESTSETS, Entry, TestSet
from ..errors import UsageError
from .environment import machine, versions
from .methods import describe_method
from .protocol import Protocol
from .rows import Row, RowFile, meta_path, read_meta, read_rows, write_json
from .unit import Job, Settings, failed_row
from .worker import Process

Progress = Callable[[int, int, Row | None], None]


@dataclass(frozen=True)
class Options:
    """How a protocol is run. ``shard`` is (which, of how many), counted from 1."""

    out: Path
    data_root: Path
    jobs: int = 1
    shard: tuple[int, int] = (1, 1)
    resume: bool = False
    retry_failed: bool = False
    limit: int | None = None
    save_audio: bool = False
    timeout: float = 1800.0  # seconds for one file through one method, its scores included


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
    which, of = options.shard
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
    which, of = options.shard
    entries = testset.entries[: options.limit][which - 1 :: of]
    done = {(row["id"], row["method"]) for row in before if not (options.retry_failed and row["error"])}
    jobs = _jobs(entries, protocol, done)
    _write_meta(path, protocol, testset, options)
    if testset.write_manifest is not None:
        testset.write_manifest(options.out / "manifest.jsonl")
    wanted = {(entry.id, spec.label) for entry in entries for spec in protocol.methods}
    failed = {
        (row["id"], row["method"]): row
        for row in before
        if row["error"] and (row["id"], row["method"]) in wanted
    }
    outcome = Outcome(path, total=sum(len(job.methods) for job in jobs), notes=testset.notes)

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
        _work(jobs, settings, options, keep)
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


def _jobs(entries: Sequence[Entry], protocol: Protocol, done: set[tuple[str, str]]) -> list[Job]:
    jobs, seen = [], set()
    for entry in entries:
        if entry.id in seen:
            raise UsageError(f"two recordings have the id {entry.id}", "rename one")
        seen.add(entry.id)
        left = tuple(spec for spec in protocol.methods if (entry.id, spec.label) not in done)
        if left:
            jobs.append(Job(entry, left))
    return jobs


def _work(jobs: Sequence[Job], settings: Settings, options: Options, keep: Callable[[Row], None]) -> None:
    """Hand out jobs to the processes; one that dies or hangs costs the cell it was at."""
    queue = deque(jobs)
    processes: list[Process] = []

    def bury(process: Process, reason: str) -> None:
        """A row for the cell that cost the process; the rest of the job goes back to the front."""
        processes.remove(process)
        process.stop()
        job = process.job
        assert job is not None
        left = [spec for spec in job.methods if spec.label not in process.done]
        if left:
            keep(failed_row(job.entry, left[0].label, settings.metrics, f"{left[0].label}: {reason}"))
        if left[1:]:
            queue.appendleft(Job(job.entry, tuple(left[1:])))

    try:
        while queue or any(process.job for process in processes):
            while queue and len(processes) < options.jobs:
                processes.append(Process(settings))
            for process in processes:
                if process.job is None and queue:
                    process.start(queue.popleft())
            busy = {process.connection: process for process in processes if process.job is not None}
            for connection in wait(list(busy), timeout=1.0):
                process = busy[connection]  # type: ignore[index]
                received = process.receive()
                if isinstance(received, dict):
                    keep(received)
                elif received is None:
                    bury(process, process.death())
            for process in list(processes):
                if process.job is not None and process.busy_seconds() > options.timeout:
                    bury(process, f"no result within {options.timeout:g} s")
    finally:
        for process in processes:
            process.stop()


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
            "jobs": options.jobs,
            "shard": f"{options.shard[0]}/{options.shard[1]}",
            "versions": versions(),
            "machine": machine(),
        }
    )
    write_json(meta_path(path), meta)
