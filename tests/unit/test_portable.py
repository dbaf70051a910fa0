"""What macOS and Windows lack is done without."""

from __future__ import annotations

import os
import sys

import pytest

from vae_se import portable
from vae_se.benchmark.rows import RowFile
from vae_se.errors import OutputError, UsageError
from vae_se.execution.local import Processes


def test_the_usable_cores_are_those_of_this_process_where_the_system_tells(monkeypatch):
    assert 1 <= portable.usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS and Windows
    assert portable.usable_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert portable.usable_cores() == 1


def test_two_runs_do_not_write_the_same_results(tmp_path):
    file = RowFile(tmp_path / "rows.jsonl")
    with pytest.raises(OutputError, match="another run"):
        RowFile(tmp_path / "rows.jsonl")
    file.close()
    RowFile(tmp_path / "rows.jsonl").close()


def test_without_file_locks_results_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # Windows
    file = RowFile(tmp_path / "rows.jsonl")
    file.append({"id": "a", "method": "mcem"})
    file.close()
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 1


def test_windows_is_told_that_it_has_no_workers(monkeypatch):
    monkeypatch.setattr(portable, "WORKER_PROCESSES", False)
    with pytest.raises(UsageError, match="Linux or macOS") as error:
        Processes(2).run(lambda: list, [])
    assert "-j 1" in error.value.hint
