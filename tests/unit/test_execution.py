"""Executors: the same results from each of them, and a worker that dies costs nothing, or one item."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import pytest

from tests import handlers
from vae_se.errors import ExecutionError, PriorError, UsageError
from vae_se.execution import Died, Shard, choose
from vae_se.execution.local import Processes, Serial

TASKS = [[0, 1], [2], [3, 4, 5], [6], [7]]
SQUARES = [[0, 1], [4], [9, 16, 25], [36], [49]]


@pytest.fixture(autouse=True)
def importable(monkeypatch, pytestconfig):
    """The workers find tests.handlers."""
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))


@pytest.mark.parametrize("executor", [Serial(), Processes(1), Processes(3)], ids=["serial", "one", "three"])
def test_every_result_has_the_number_of_its_task(executor):
    found = dict(executor.run(handlers.squares, TASKS))
    assert [[value for value, _ in found[number]] for number in range(len(TASKS))] == SQUARES
    assert list(executor.run(handlers.squares, [])) == []


def test_processes_are_other_processes_with_one_thread():
    found = dict(Processes(2).run(handlers.squares, [[i] for i in range(20)]))
    pids = {pid for [(_, pid)] in found.values()}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert list(Processes(1).run(handlers.threads, [[0]])) == [(0, ["1"])]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_tasks_are_taken_when_there_is_room():
    taken = []

    def tasks():
        for i in range(100):
            taken.append(i)
            yield [i]

    with closing(Processes(1).run(handlers.squares, tasks())) as results:
        next(results)
    assert len(taken) <= 3


def attempts(folder):
    return sorted((folder / "attempts").read_text().split())


def test_a_task_is_tried_once_more(tmp_path):
    tasks = [["a"], ["b:dies-once", "c"], ["d"]]
    found = dict(Processes(1).run(partial(handlers.faulty, str(tmp_path)), tasks))
    assert found == {0: ["a"], 1: ["b", "c"], 2: ["d"]}
    assert attempts(tmp_path) == sorted(["a", "b:dies-once,c", "b:dies-once,c", "d"])


def test_an_item_that_kills_is_reported_and_the_others_of_its_task_are_done(tmp_path):
    tasks = [["a", "b:dies", "c"], ["d:dies"], ["e"]]
    found = dict(Processes(2).run(partial(handlers.faulty, str(tmp_path)), tasks))
    died = Died("the process crashed (SIGKILL)")
    assert found == {0: ["a", died, "c"], 1: [died], 2: ["e"]}
    assert attempts(tmp_path).count("d:dies") == 2
    assert attempts(tmp_path).count("b:dies") == 1


def test_a_hang_is_not_tried_twice(tmp_path):
    executor = Processes(1, timeout=1.0)
    found = dict(executor.run(partial(handlers.faulty, str(tmp_path)), [["a:hangs"], ["b"]]))
    assert found == {0: [Died("no result within 1 s", hung=True)], 1: ["b"]}
    assert attempts(tmp_path) == ["a:hangs", "b"]


def test_what_a_worker_raises_is_raised(tmp_path):
    for executor in (Serial(), Processes(2)):
        with pytest.raises(ValueError, match="a"):
            list(executor.run(partial(handlers.faulty, str(tmp_path)), [["a:raises"]]))
        with pytest.raises(PriorError, match="no such prior") as raised:
            list(executor.run(handlers.cannot_start, TASKS))
        assert raised.value.hint == "choose another"
    with pytest.raises(ExecutionError, match="could not be started: the process crashed"):
        list(Processes(1).run(handlers.dies_at_the_start, TASKS))


def test_closing_drops_what_is_under_way():
    results = Processes(2).run(partial(handlers.slow, 0.2), ([i] for i in range(1000)))
    pids = {next(results)[1][0][1] for _ in range(4)}
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_with_a_parent_that_is_killed(pytestconfig):
    code = (
        "from tests import handlers\n"
        "from vae_se.execution.local import Processes\n"
        "for _, [pid] in Processes(1).run(handlers.naps, [[0], [600]]):\n"
        "    print(pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=pytestconfig.rootpath)
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}")


def test_shards_are_a_partition():
    shards = [Shard.parse(f"{i}/3") for i in (1, 2, 3)]
    parts = [list(shard.of_all(range(10))) for shard in shards]
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(10))
    assert str(shards[1]) == "2/3"
    assert list(Shard.parse(None).of_all("abc")) == ["a", "b", "c"]
    for text in ("0/2", "3/2", "1", "1/0", "a/b", "-1/2"):
        with pytest.raises(UsageError, match="expected I/N"):
            Shard.parse(text)


def test_executors_by_name():
    assert choose("serial") == Serial()
    assert choose("processes", 3, timeout=5) == Processes(3, 5)
    for arguments, words in (
        ({"name": "rya"}, "did you mean ray"),
        ({"name": "processes", "address": "auto"}, "--executor ray"),
        ({"name": "ray", "slurm": {"timeout_min": 5}}, "--executor slurm"),
    ):
        with pytest.raises(UsageError) as raised:
            choose(**arguments)
        assert words in raised.value.hint


def test_execution_does_without_torch():
    code = "import sys, vae_se.execution; assert not {'torch', 'numpy', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
