"""Figures in the pages, compared with the CSV files that they come from.

    python eval/scripts/check_numbers.py [PAGE ...]

Without arguments: README.md, eval/*.md and docs/*.md. A comment above a table ties its cells to a CSV file in
eval/results. Here each row of the table is a method, each column a metric, and a cell is the mean:

    <!-- numbers validation.csv; rows method: noisy, mcem; columns metric: si_sdr, pesq_wb; value mean -->

Columns of the CSV that are the same for all cells are named like this: `method mcem`. Rows and columns called
`_` are not checked; a table of several files has a comment for each. Cells such as 11.1 / 1.73 / .655 have a
key with as many parts, `columns metric: si_sdr / pesq_wb / estoi`. A comment behind a figure, in the same line,
ties that one:

    11.11 dB<!-- number validation.csv; method mcem; metric si_sdr; value mean -->

In the results of a benchmark `snr_db 5` or `noise birds` choose a group of files; without either, all files.
A figure must be the number of the CSV, rounded to the digits that the page shows. Prints each figure that
differs. The exit code is 1 if there is one, or if a comment cannot be read.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"<!-- (numbers?) ([^;>]+?\.csv)((?:; [^;>]+)+) -->")
FIGURE = re.compile(r"[+-]?\d*\.?\d+")
#: Columns `group` and `value` of a benchmark's results, by the name of the group.
GROUPS = ("snr_db", "noise")


@functools.cache
def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@dataclasses.dataclass(frozen=True)
class Tie:
    """A figure in a page: where it is, its text, and the cell of a CSV file that it comes from."""

    page: str
    line: int
    text: str
    file: str
    where: dict[str, str]
    column: str

    def fault(self, root: Path) -> str:
        """What is wrong, or ""."""
        here = f"{self.page}:{self.line}"
        source = f"{self.file}, " + ", ".join(f"{k} {v}" for k, v in self.where.items()) + f", {self.column}"
        figure = FIGURE.search(self.text.replace("−", "-"))
        if figure is None:
            return f"{here}: there is no figure in {self.text!r} for {source}"
        path = root / "eval/results" / self.file
        if not path.exists():
            return f"{here}: there is no {path.name} in eval/results"
        rows = [row for row in read(path) if self._matches(row)]
        if len(rows) != 1 or not rows[0].get(self.column):
            return f"{here}: {len(rows)} rows for {source}"
        return self._difference(figure.group(), float(rows[0][self.column]), here, source)

    def _matches(self, row: dict[str, str]) -> bool:
        """Whether the conditions hold for a row of the file."""
        where = dict(self.where)
        if "group" in row:
            group = next((name for name in GROUPS if name in where), "all")
            where |= {"group": group, "value": where.pop(group, "")}
        return all(row.get(name) == value for name, value in where.items())

    @staticmethod
    def _difference(figure: str, exact: float, here: str, source: str) -> str:
        unit = 10.0 ** -len(figure.partition(".")[2])
        # Half a unit of the last digit, and the rounding of the CSV itself.
        if abs(float(figure) - exact) <= 0.5 * unit + 1e-5 * abs(exact):
            return ""
        return f"{here}: {figure} should be {exact:g} ({source})"


def ties(page: str, text: str) -> Iterator[Tie]:
    """The figures of a page that comments tie to a file. Raises ValueError for an incomplete comment."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("    "):  # an example in a block of code
            continue
        start = 0
        for comment in COMMENT.finditer(line):
            kind, file, rest = comment.groups()
            fields = dict(part.split(" ", 1) for part in rest.removeprefix("; ").split("; "))
            column = fields.pop("value", "mean")
            if kind == "number":
                before = [figure.group() for figure in FIGURE.finditer(line[start : comment.start()])]
                yield Tie(page, index + 1, before[-1] if before else "", file, fields, column)
            else:
                yield from _cells(page, lines, index, file, fields, column)
            start = comment.end()


def _cells(
    page: str, lines: list[str], above: int, file: str, fields: dict[str, str], column: str
) -> Iterator[Tie]:
    """The cells of the table below a comment."""
    axes = []
    for axis in ("rows", "columns"):
        name, _, keys = fields.pop(axis, "").partition(": ")
        if not keys:
            raise ValueError(f"{page}:{above + 1}: the comment has no `{axis} NAME: KEY, KEY`")
        axes.append([(name, key.strip()) for key in keys.split(",")])
    rows, columns = axes
    first = above + 1
    while first < len(lines) and lines[first].startswith("<!--"):
        first += 1
    body = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip().strip("|").split("|")][1:])
    body = body[2:]  # after the heading and the rule
    if len(body) != len(rows) or any(len(cells) != len(columns) for cells in body):
        raise ValueError(
            f"{page}:{above + 1}: the comment has {len(rows)} rows and {len(columns)} columns, the table"
            f" {len(body)} and {len(body[0]) if body else 0}"
        )
    for number, (cells, row) in enumerate(zip(body, rows, strict=True)):
        for cell, key in zip(cells, columns, strict=True):
            if "_" in (row[1], key[1]):
                continue
            names = key[1].split(" / ")
            for name, figure in zip(names, _parts(cell, len(names)), strict=True):
                where = fields | dict([row, (key[0], name)])
                yield Tie(page, first + 3 + number, figure, file, where, column)


def _parts(cell: str, count: int) -> list[str]:
    """The figures of a cell; empty ones if their number is wrong, so that a fault is reported."""
    parts = cell.replace("*", "").split(" / ")
    return parts if len(parts) == count else [""] * count


def faults(root: Path, pages: list[Path]) -> tuple[int, list[str]]:
    """The number of figures that were checked, and what is wrong with some of them."""
    count, found = 0, []
    for page in pages:
        name = page.relative_to(root).as_posix()
        text = page.read_text(encoding="utf-8")
        unread = [
            f"{name}:{number}: this comment cannot be read"
            for number, line in enumerate(text.splitlines(), 1)
            if re.match(r"(?! {4}).*<!-- ?numbers?\b", line) and not COMMENT.search(line)
        ]
        found += unread
        try:
            for tie in ties(name, text):
                count += 1
                found += [fault] if (fault := tie.fault(root)) else []
        except ValueError as error:
            found.append(str(error))
    return count, found


def main(arguments: list[str]) -> int:
    pages = [Path(page).resolve() for page in arguments]
    if not pages:
        pages = [ROOT / "README.md", *sorted(ROOT.glob("eval/*.md")), *sorted(ROOT.glob("docs/*.md"))]
    count, found = faults(ROOT, pages)
    print(*found, f"{count} figures, {len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
