"""Scoring in processes: the same numbers, and a crash or a hang costs one row."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vae_se.errors import UsageError
from vae_se.metrics import METRICS, ScorePool, score
from vae_se.metrics.base import Metric

RATE = 16000
SPEECH = 0.1 * np.random.default_rng(0).standard_normal(RATE)
ESTIMATE = SPEECH + 0.01 * np.random.default_rng(1).standard_normal(RATE)

FAULTY = """
import os, time
from vae_se.metrics.base import metric
@metric("crashes", "", "2000")
def crashes(pair):
    os.abort()
@metric("hangs", "", "2000")
def hangs(pair):
    time.sleep(3600)
@metric("prints", "", "2000")
def prints(pair):
    print("noise on standard output", flush=True)
    return float(os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics that misbehave, known here and in the workers."""
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("crashes", "hangs", "prints"):
        monkeypatch.setitem(METRICS._items, name, Metric(name, lambda pair: 0.0, "", ""))


def test_the_same_scores_as_in_this_process() -> None:
    names = ["si_sdr", "estoi", "pesq_wb", "si_sir"]
    with ScorePool(1) as pool:
        got = pool.submit(names, SPEECH, ESTIMATE, RATE, noisy=ESTIMATE).result(300)
    expected = score(names, SPEECH, ESTIMATE, RATE, noisy=ESTIMATE)
    assert [got[name].value for name in names] == pytest.approx([expected[name].value for name in names])


def test_one_metric_crashes_and_the_others_are_kept(faulty: None, capfd: pytest.CaptureFixture[str]) -> None:
    with ScorePool(1) as pool:
        got = pool.submit(["si_sdr", "crashes", "prints"], SPEECH, ESTIMATE, RATE).result(300)
        after = pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE).result(300)
    assert got["si_sdr"] == after["si_sdr"]
    assert got["si_sdr"].reason == ""
    assert math.isnan(got["crashes"].value)
    assert got["crashes"].reason == "the process crashed (SIGABRT)"
    assert got["prints"].value == 1.0  # one thread
    assert capfd.readouterr().out == ""


def test_a_hang_ends_with_the_timeout(faulty: None) -> None:
    got = score(["hangs"], SPEECH, ESTIMATE, RATE, timeout=0.5)
    assert got["hangs"].reason == "no result within 0.5 s"


def test_a_process_that_is_killed_from_outside() -> None:
    with ScorePool(1) as pool:
        pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE).result(300)
        os.kill(pool.pids()[0], signal.SIGKILL)
        killed = pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE).result(300)["si_sdr"]
        after = pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE).result(300)["si_sdr"]
    assert math.isnan(killed.value)
    assert "SIGKILL" in killed.reason
    assert after.reason == ""


def test_processes_are_replaced_and_ended() -> None:
    with ScorePool(1, recycle=2) as pool:
        seen = set()
        for _ in range(5):
            pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE).result(300)
            seen.update(pool.pids())
    assert len(seen) == 3
    for pid in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_unknown_names_and_closed_pools() -> None:
    pool = ScorePool(1)
    with pytest.raises(UsageError, match="unknown metric"):
        pool.submit(["nonsense"], SPEECH, ESTIMATE, RATE)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(["si_sdr"], SPEECH, ESTIMATE, RATE)


def test_works_from_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from vae_se.metrics import ScorePool\n"
        "x = np.random.default_rng(0).standard_normal(8000)\n"
        "with ScorePool(1) as pool:\n"
        "    print(pool.submit(['si_sdr'], x, x, 16000).result()['si_sdr'].value)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "100.0\n"
    assert done.stderr == ""


def test_metrics_do_without_torch() -> None:
    code = "import sys, vae_se.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
