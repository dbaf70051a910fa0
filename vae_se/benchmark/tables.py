"""Results as text: a table for the terminal, CSV, and a Markdown report."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from typing import Any

from .report import REFERENCE, Results
from .statistics import Change, Summary, change, direction, real_time_factor, summarise

ARROWS = {"higher": "↑", "lower": "↓", "": ""}


def number(value: float | None, signed: bool = False) -> str:
    """A number with one to three decimals; a dash where there is no value.

    >>> number(0.12345), number(12.345, signed=True), number(None)
    ('0.123', '+12.35', '–')
    """
    if value is None or value != value:
        return "–"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:{'+' if signed else ''}.{digits}f}"


def heading(metric: str) -> str:
    """The metric with an arrow in the better direction, where there is one."""
    return f"{metric} {ARROWS[direction(metric)]}".rstrip()


def name(results: Results, method: str) -> str:
    """The label, marked where the method uses the clean speech."""
    return f"{method} (oracle)" if results.oracle(method) else method


def terminal(results: Results, against: str | None = None, width: int | None = None) -> str:
    """Means and, in brackets, the paired change against ``against`` (by default noisy, if it was run).

    A table wider than ``width`` characters is split into blocks of columns.
    """
    against = against or (REFERENCE if REFERENCE in results.methods else None)
    header = ["method", *map(heading, results.metrics), "rtf", "failed"]
    rows = []
    for method in results.methods:
        cells = []
        for metric in results.metrics:
            text = number(summarise(results, method, metric).mean)
            if against and method != against:
                text += f" ({number(change(results, method, against, metric).mean, signed=True)})"
            cells.append(text)
        rtf, _ = real_time_factor(results, method)
        rows.append([name(results, method), *cells, number(rtf), _failed(results, method)])
    lines = [f"{results.meta['protocol']['name']}: {len(results.ids)} mixtures, means"]
    if against:
        lines[0] += f" (paired change against {against})"
    lines += _blocks([header, *rows], width)
    if results.missing():
        lines.append(f"incomplete: {results.missing()} of {len(results.ids) * len(results.methods)} not run")
    return "\n".join(lines)


def _failed(results: Results, method: str) -> str:
    """Number of files that failed, and of single scores without a value."""
    rows = [row for (_, label), row in results.cells.items() if label == method]
    whole = sum(row["error"] is not None for row in rows)
    single = sum(len(row["failures"]) for row in rows)
    return f"{whole} files" + (f", {single} scores" if single else "") if whole or single else "0"


def _blocks(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Aligned rows, split into blocks of columns at most ``width`` wide, each with the first column."""
    columns = list(range(1, len(rows[0])))
    lines: list[str] = []
    while columns:
        take = len(columns)
        while True:
            block = aligned([[row[0], *(row[i] for i in columns[:take])] for row in rows])
            if take == 1 or width is None or len(block[0]) <= width:
                break
            take -= 1
        lines += ([""] if lines else []) + block
        columns = columns[take:]
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column is aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def to_csv(results: Results, against: str | None = None) -> str:
    """CSV with one line per method, metric and group (all, snr_db, noise); empty where there is no value."""
    references = [ref for ref in (REFERENCE, against) if ref and ref in results.methods]
    references = list(dict.fromkeys(references))
    fields = ["method", "oracle", "metric", "better", "group", "value", *Summary.__dataclass_fields__]
    for ref in references:
        fields += [f"vs_{ref}_{item}" for item in Change.__dataclass_fields__]
    out = io.StringIO()
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    for method in results.methods:
        for metric in results.metrics:
            for group, value, ids in _groups(results):
                row: dict[str, Any] = {
                    "method": method,
                    "oracle": int(results.oracle(method)),
                    "metric": metric,
                    "better": direction(metric),
                    "group": group,
                    "value": value,
                    **vars(summarise(results, method, metric, ids)),
                }
                for ref in references:
                    difference = vars(change(results, method, ref, metric, ids))
                    row |= {f"vs_{ref}_{item}": number for item, number in difference.items()}
                writer.writerow({key: _plain(item) for key, item in row.items()})
    return out.getvalue()


def _plain(item: object) -> object:
    if isinstance(item, float):
        return "" if item != item else f"{item:.6g}"
    return item


def _groups(results: Results) -> list[tuple[str, float | str, tuple[str, ...]]]:
    groups: list[tuple[str, float | str, tuple[str, ...]]] = [("all", "", results.ids)]
    for key in ("snr_db", "noise"):
        groups += [(key, value, ids) for value, ids in results.groups(key).items()]
    return groups


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *rows)
    ] + [""]


def markdown(results: Results, against: str | None = None) -> str:
    """The report: all tables, failures, and how the results were made."""
    protocol, metrics = results.meta["protocol"], results.metrics
    out = [f"# {protocol['name']}", ""]
    if protocol["description"]:
        out += [protocol["description"], ""]
    out += [
        f"{len(results.ids)} mixtures. Brackets hold the 95 % bootstrap interval of the mean over files.",
        "",
    ]
    if results.missing():
        out += [
            f"**Incomplete: {results.missing()} of {len(results.ids) * len(results.methods)} not run.**",
            "",
        ]
    out += ["## Mean", ""]
    rows = []
    for method in results.methods:
        found = [summarise(results, method, metric) for metric in metrics]
        rows.append(
            [name(results, method), *(f"{number(s.mean)} [{number(s.low)}, {number(s.high)}]" for s in found)]
        )
    out += _table(["method", *map(heading, metrics)], rows)
    for reference in dict.fromkeys(filter(None, (REFERENCE, against))):
        if reference in results.methods:
            out += _changes(results, reference)
    out += ["## Median", ""]
    rows = [
        [name(results, m), *(number(summarise(results, m, metric).median) for metric in metrics)]
        for m in results.methods
    ]
    out += _table(["method", *map(heading, metrics)], rows)
    for key, title, unit in (("snr_db", "Mean by input SNR", " dB"), ("noise", "Mean by noise", "")):
        out += _breakdown(results, key, title, unit)
    out += _speed(results) + _failures(results) + _environment(results)
    return "\n".join(out)


def _changes(results: Results, reference: str) -> list[str]:
    rows = []
    for method in results.methods:
        if method == reference:
            continue
        cells = []
        for metric in results.metrics:
            c = change(results, method, reference, metric)
            cells.append(
                f"{number(c.mean, True)} [{number(c.low, True)}, {number(c.high, True)}], {c.wins}:{c.losses}"
            )
        rows.append([name(results, method), *cells])
    text = "Mean paired difference over the files that both methods have, and number of files better : worse."
    return [
        f"## Change against {reference}",
        "",
        text,
        "",
        *_table(["method", *map(heading, results.metrics)], rows),
    ]


def _breakdown(results: Results, key: str, title: str, unit: str) -> list[str]:
    """One table per metric: a row per group, a column per method."""
    groups = results.groups(key)
    if not groups:
        return []
    out = [f"## {title}", ""]
    for metric in results.metrics:
        rows = [
            [
                f"{value:g}{unit}" if isinstance(value, float) else str(value),
                str(len(ids)),
                *(number(summarise(results, method, metric, ids).mean) for method in results.methods),
            ]
            for value, ids in groups.items()
        ]
        out += _table([heading(metric), "files", *(name(results, method) for method in results.methods)], rows)
    return out


def _speed(results: Results) -> list[str]:
    rows = []
    for method in results.methods:
        total, median = real_time_factor(results, method)
        rows.append([name(results, method), number(total), number(median)])
    how = sorted({_workers(run) for meta in results.metas for run in meta["runs"]})
    text = f"Processing time over duration, one thread per file, {' or '.join(how)}."
    return ["## Real-time factor", "", text, "", *_table(["method", "all files", "median file"], rows)]


def _workers(run: dict[str, Any]) -> str:
    """The executor of a run; old headers have the number of jobs instead."""
    return str(run["executor"]) if "executor" in run else f"{run['jobs']} files at a time"


def _failures(results: Results) -> list[str]:
    rows = [
        [name(results, method), str(count), reason]
        for method, reasons in results.failures().items()
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    if not rows:
        return ["## Failures", "", "None.", ""]
    text = "Scores that could not be computed enter no mean above; they are counted here."
    return ["## Failures", "", text, "", *_table(["method", "count", "reason"], rows)]


def _environment(results: Results) -> list[str]:
    out = ["## How it was run", ""]
    runs = [run for meta in results.metas for run in meta["runs"]]
    out += [f"- seed {results.meta['seed']}, test set {results.meta['testset']['fingerprint'][:16]}"]
    for command in dict.fromkeys(shlex.join(run["command"]) for run in runs):
        out.append(f"- `{command}`")
    for text in dict.fromkeys(
        ", ".join(f"{key} {value}" for key, value in run["machine"].items() if value is not None)
        for run in runs
    ):
        out.append(f"- machine: {text}")
    for text in dict.fromkeys(
        ", ".join(f"{key} {value}" for key, value in run["versions"].items() if value != "absent")
        for run in runs
    ):
        out.append(f"- versions: {text}")
    return [*out, ""]
