"""Ray and submitit: the results of one process, and a worker killed in the middle costs nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests import handlers
from vae_se.errors import ExecutionError, PriorError, UsageError
from vae_se.execution import Died, choose

TASKS = [[0, 1], [2], [3, 4, 5], [6], [7]]
SQUARES = [[0, 1], [4], [9, 16, 25], [36], [49]]


@pytest.fixture(scope="module")
def importable(pytestconfig):
    """The workers find tests.handlers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        yield


@pytest.fixture(scope="module")
def cluster(importable):
    """The address of a Ray cluster of two nodes with one core each."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    nodes = Cluster()
    nodes.add_node(**node, include_dashboard=False)
    nodes.add_node(**node)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


@pytest.mark.slow
def test_ray_with_a_worker_killed_in_the_middle(cluster):
    found, pids, killed = {}, set(), None
    for number, results in choose("ray", address=cluster).run(
        partial(handlers.slow, 0.2), ([i] for i in range(20))
    ):
        found[number] = [value for value, _ in results]
        pids |= {pid for _, pid in results}
        if killed is None and len(pids) == 2:
            killed = results[0][1]
            os.kill(killed, signal.SIGKILL)
    assert found == {i: [i] for i in range(20)}
    assert killed is not None
    assert len(pids) == 3  # two nodes' workers, and the one that took the dead one's place


@pytest.mark.slow
def test_ray_reports_what_kills_and_raises_what_is_raised(cluster, tmp_path):
    executor = choose("ray", 1, address=cluster)
    found = dict(executor.run(partial(handlers.faulty, str(tmp_path)), [["a", "b:dies"], ["c"]]))
    assert found == {0: ["a", Died("the Ray worker died")], 1: ["c"]}
    with pytest.raises(PriorError, match="no such prior"):
        list(executor.run(handlers.cannot_start, TASKS))
    assert dict(executor.run(handlers.threads, [[0]])) == {0: ["1"]}


def enhance_both_ways(folder, tiny_prior, *engine):
    """``vae-se enhance`` in one process and on an engine: the same files, and the same failure.

    Each is a process of its own, as for a user: a driver of Ray that dies takes its process along.
    """
    (folder / "bad.wav").write_text("no sound")
    quick = ["--prior", tiny_prior, "--set", "inference.iterations=3", "--device", "cpu", "--batch", "2"]
    for name, options in (("serial", ["--executor", "serial"]), ("engine", engine)):
        command = [
            sys.executable,
            "-m",
            "vae_se",
            "enhance",
            folder,
            *quick,
            "-o",
            folder.parent / name,
            *options,
        ]
        ran = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert ran.returncode == 1, ran.stderr
        assert "4 done, 1 failed" in ran.stderr
    serial, other = (
        {p.name: p.read_bytes() for p in (folder.parent / n).iterdir()} for n in ("serial", "engine")
    )
    assert len(serial) == 4
    assert serial == other


@pytest.fixture
def folder(wav, make_noisy, tmp_path):
    """Four recordings."""
    for seed in range(4):
        wav(f"in/{seed}.wav", make_noisy(0.3 + 0.1 * seed, seed=seed))
    return tmp_path / "in"


@pytest.mark.slow
def test_enhance_on_ray_makes_the_same_files(cluster, folder, tiny_prior):
    enhance_both_ways(folder, tiny_prior, "--executor", "ray", "--address", cluster)


@pytest.mark.slow
def test_enhance_on_slurm_makes_the_same_files(submitit, folder, tiny_prior):
    engine = ["--executor", "slurm", "--address", "local", "--slurm", "timeout_min=5"]
    enhance_both_ways(folder, tiny_prior, *engine)


def test_no_cluster(monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")

    def refuse(**_):
        raise ConnectionError("Could not find\nany running Ray instance")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ExecutionError, match="no Ray cluster: Could not find any running Ray instance"):
        list(choose("ray", address="auto").run(handlers.squares, TASKS))


@pytest.fixture
def submitit(importable, tmp_path, monkeypatch):
    """submitit's executor of local processes, its files in the test's folder."""
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    monkeypatch.chdir(tmp_path)
    return lambda jobs=2, **options: choose("slurm", jobs, "local", **options)


@pytest.mark.slow
def test_slurm_shares_are_merged(submitit):
    found = dict(submitit().run(handlers.squares, TASKS))
    assert [[value for value, _ in found[number]] for number in range(len(TASKS))] == SQUARES
    assert list(submitit().run(handlers.squares, [])) == []


@pytest.mark.slow
def test_slurm_with_a_file_that_kills_and_one_that_kills_once(submitit, tmp_path):
    tasks = [["a", "b:dies", "c"], ["d:dies-once"], ["e"]]
    found = dict(submitit(1).run(partial(handlers.faulty, str(tmp_path)), tasks))
    assert found == {0: ["a", Died("the process crashed (SIGKILL)"), "c"], 1: ["d"], 2: ["e"]}


@pytest.mark.slow
def test_slurm_raises_what_is_raised_and_knows_its_options(submitit, tmp_path):
    with pytest.raises(PriorError, match="no such prior"):
        list(submitit(1).run(handlers.cannot_start, TASKS))
    with pytest.raises(ExecutionError, match=r"failed: ValueError: a"):
        list(submitit(1).run(partial(handlers.faulty, str(tmp_path)), [["a:raises"]]))
    with pytest.raises(UsageError, match="submitit"):
        list(submitit(slurm={"no_such": 3}).run(handlers.squares, TASKS))
