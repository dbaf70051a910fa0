"""Mutation study: named errors in the code, each of which a test must notice.

    nice python eval/scripts/mutants.py [--only TEXT] [--again]

mutants.toml holds the mutants: a file, the text to replace, the new text, and the tests that ought to fail. The
tree is copied to a temporary folder. Each mutant is applied there by itself, and its tests run until the first
failure. Before that, all these tests must pass without a mutant. Outcomes are

- killed: a test failed;
- timeout: the tests did not end (a hang, which a test run notices);
- survived: all tests passed;
- broken: the mutant cannot be imported, which says nothing about the tests.

Rows are appended to eval/results/mutants.csv as they come, and eval/results/mutants.md is made from them. A run
that is interrupted continues where it stopped; a mutant whose definition changes runs again. The exit code is 1
if a mutant is broken, or survives without an explanation in the table.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import dataclasses
import gc
import hashlib
import importlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".toml")
RESULTS = ROOT / "eval/results/mutants.csv"
#: Packages that the tests import; imported once, before the forks.
PRELOADED = (
    "torch",
    "hypothesis",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.stats",
    "soundfile",
)
INTRODUCTION = """\
# Mutants

    nice python eval/scripts/mutants.py

Errors made on purpose in copies of the code, one at a time: a sign, a factor, a mask, a term, a constant of a
distribution. [mutants.toml](../scripts/mutants.toml) defines them and names the tests that ought to fail;
[mutants.csv](mutants.csv) says which test noticed each one. A mutant is equivalent if it changes no result. The
score is the share of the others that a test notices; a test run that does not end counts as noticed.

| package | mutants | killed | timeout | survived | equivalent | score |
|---|---|---|---|---|---|---|
"""
COLUMNS = ("name", "file", "outcome", "seconds", "killed_by", "key")


@dataclasses.dataclass(frozen=True)
class Change:
    """Replacement of a text that occurs exactly once in a file."""

    file: str
    old: str
    new: str


@dataclasses.dataclass(frozen=True)
class Mutant:
    """An error made on purpose.

    ``changes``: usually one; ``tests``: files or node ids; ``explanation``: why it may survive, or "";
    ``equivalent``: the explanation is that no result changes.
    """

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    explanation: str = ""
    equivalent: bool = False

    @property
    def file(self) -> str:
        """The file of the first change."""
        return self.changes[0].file

    @property
    def package(self) -> str:
        """The package or module under vae_se that holds the file."""
        return self.file.removeprefix("vae_se/").split("/")[0].removesuffix(".py")

    @property
    def key(self) -> str:
        """Short digest of what is run."""
        return hashlib.sha256(repr((self.changes, self.tests)).encode()).hexdigest()[:12]


def load(path: Path = TABLE) -> list[Mutant]:
    """The mutants of the table."""
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
        changes = [
            Change(c.get("file", entry["file"]), c["old"], c["new"]) for c in [entry, *entry.get("also", [])]
        ]
        found.append(
            Mutant(
                entry["name"],
                tuple(changes),
                tuple(entry["tests"]),
                entry.get("explanation", ""),
                entry.get("equivalent", False),
            )
        )
    return found


def copied(folder: Path) -> None:
    """A copy of the package and its tests; what they only read is linked."""
    for name in ("vae_se", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docs", "eval", "examples", "pretrained", "pyproject.toml", "README.md", "CHANGELOG.md"):
        (folder / name).symlink_to(ROOT / name)


@contextlib.contextmanager
def applied(mutant: Mutant, folder: Path) -> Iterator[None]:
    """Make the changes of the mutant in the copy; undo them afterwards."""
    before: dict[Path, str] = {}
    try:
        for change in mutant.changes:
            path = folder / change.file
            text = path.read_text(encoding="utf-8")
            if text.count(change.old) != 1:
                raise ValueError(
                    f"{mutant.name}: its text occurs {text.count(change.old)} times in {change.file}"
                )
            before.setdefault(path, text)
            _write(path, text.replace(change.old, change.new))
        yield
    finally:
        for path, text in before.items():
            _write(path, text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python compares size and whole seconds: a changed file could be taken for the compiled one.
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def tested(folder: Path, tests: Sequence[str], timeout: float) -> tuple[str, str, str]:
    """Outcome of the tests in the copy, the first test that failed, and the output of pytest.

    A fork of this process runs pytest, so that PRELOADED packages are imported once for all mutants.
    """
    log = folder / "pytest.log"
    process = multiprocessing.get_context("fork").Process(target=_run_pytest, args=(folder, tests, log))
    process.start()
    process.join(timeout)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return "timeout", "", log.read_text(encoding="utf-8")
    output = log.read_text(encoding="utf-8", errors="replace")
    outcome = {0: "survived", 1: "killed"}.get(process.exitcode, "broken")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", output, re.MULTILINE)
    return outcome, failed.group(1) if failed else "", output


def _run_pytest(folder: Path, tests: Sequence[str], log: Path) -> NoReturn:
    os.setsid()  # a group of its own, which a timeout ends with all its processes
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=short", *tests])
    sys.stdout.flush()
    os._exit(code)


def read(path: Path) -> dict[str, dict[str, str]]:
    """Rows by the key of the mutant."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["key"]: row for row in csv.DictReader(stream)}


def write(path: Path, mutants: Sequence[Mutant], rows: dict[str, dict[str, str]]) -> None:
    """The rows in the order of the table, and the page that is made from them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [mutant for mutant in mutants if mutant.key in rows]
    for target, text in ((path, _csv(known, rows)), (path.with_suffix(".md"), report(known, rows))):
        temporary = target.with_suffix(target.suffix + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)


def _csv(mutants: Sequence[Mutant], rows: dict[str, dict[str, str]]) -> str:
    stream = io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows[mutant.key] for mutant in mutants)
    return stream.getvalue()


def report(mutants: Sequence[Mutant], rows: dict[str, dict[str, str]]) -> str:
    """Scores by package, and the mutants that survived."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for mutant in mutants:
        outcome = rows[mutant.key]["outcome"]
        kind = "equivalent" if mutant.equivalent and outcome == "survived" else outcome
        for name in (mutant.package, "all"):
            counts[name][kind] += 1
    order = sorted(name for name in counts if name != "all") + ["all"]
    lines = INTRODUCTION.splitlines()
    for name in order:
        c = counts[name]
        total, noticed = c.total(), c["killed"] + c["timeout"]
        judged = total - c["equivalent"]
        score = f"{noticed / judged:.0%}" if judged else ""
        figures = (c["killed"], c["timeout"], c["survived"] + c["broken"], c["equivalent"])
        lines.append("| " + " | ".join([name, str(total), *map(str, figures), score]) + " |")
    left = [mutant for mutant in mutants if rows[mutant.key]["outcome"] in ("survived", "broken")]
    lines += ["", "## Survivors", ""]
    if not left:
        return "\n".join([*lines, "None."]) + "\n"
    lines += ["| mutant | file | explanation |", "|---|---|---|"]
    lines += [f"| {m.name} | `{m.file}` | {m.explanation or rows[m.key]['outcome']} |" for m in left]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose name or file contains this text")
    parser.add_argument("--again", action="store_true", help="run the chosen mutants again")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for the tests of one mutant")
    parser.add_argument("--unchecked", action="store_true", help="do not run the tests without a mutant first")
    options = parser.parse_args()

    mutants = load()
    rows = read(RESULTS)
    chosen = [m for m in mutants if options.only in m.name or options.only in m.file]
    pending = [m for m in chosen if options.again or m.key not in rows]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        if pending:
            copied(folder)
            os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
            for package in PRELOADED:
                importlib.import_module(package)
            gc.freeze()  # the forks share these objects
            tests = list(dict.fromkeys(test for mutant in pending for test in mutant.tests))
            outcome, failed, output = ("survived", "", "")
            if not options.unchecked:
                outcome, failed, output = tested(folder, tests, 3600)
            if outcome != "survived":
                print(output[-3000:], f"the tests fail without a mutant: {failed}", sep="\n", file=sys.stderr)
                return 2
        for mutant in pending:
            began = time.monotonic()
            with applied(mutant, folder):
                outcome, failed, output = tested(folder, mutant.tests, options.timeout)
            seconds = f"{time.monotonic() - began:.0f}"
            found = (mutant.name, mutant.file, outcome, seconds, failed, mutant.key)
            rows[mutant.key] = dict(zip(COLUMNS, found, strict=True))
            write(RESULTS, mutants, rows)
            print(f"{outcome:9} {seconds:>4} s  {mutant.name}  {failed}", flush=True)
            if outcome == "broken":
                print(output[-3000:])
    write(RESULTS, mutants, rows)
    outcomes = {mutant: rows[mutant.key]["outcome"] for mutant in chosen}
    bad = [m for m, o in outcomes.items() if o == "broken" or (o == "survived" and not m.explanation)]
    for mutant in bad:
        print(f"{outcomes[mutant]}: {mutant.name}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
