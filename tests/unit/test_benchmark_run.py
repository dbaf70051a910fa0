"""Running a protocol: nothing is lost or repeated, and every failure is a row."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile as sf

from vae_se.benchmark.protocol import load_protocol
from vae_se.benchmark.report import load_results
from vae_se.benchmark.rows import RowFile, read_rows
from vae_se.benchmark.runner import RunOptions
from vae_se.benchmark.runner import run as run_protocol
from vae_se.benchmark.tables import markdown, to_csv
from vae_se.cli import main
from vae_se.errors import OutputError, UsageError
from vae_se.execution.local import Processes

RATE = 8000


def voice(seed: int, seconds: float = 0.7, rate: int = RATE) -> np.ndarray:
    """A harmonic tone with a pause in it."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 120 * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    return 0.1 * tone * (np.sin(2 * np.pi * 2 * t) > -0.5)


def write_pairs(root: Path, count: int, rate: int = RATE) -> None:
    """``root/clean`` and ``root/noisy`` with ``count`` files each."""
    for folder in ("clean", "noisy"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        clean = voice(i, rate=rate)
        noisy = clean + 0.03 * np.random.default_rng(100 + i).standard_normal(clean.size)
        sf.write(root / f"clean/f{i}.wav", clean, rate)
        sf.write(root / f"noisy/f{i}.wav", noisy, rate)


def write_protocol(
    path: Path, methods: str = "[methods.noisy]\n", metrics: str = '"si_sdr", "seg_snr"'
) -> Path:
    """A protocol over the pairs beside it."""
    path.write_text(f'[data]\nset = "pairs"\nroot = "."\n\n{methods}\n[metrics]\nnames = [{metrics}]\n')
    return path


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``vae-se benchmark ...``."""
    return [sys.executable, "-m", "vae_se", "benchmark", *map(str, arguments)]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run ``vae-se benchmark ...`` in this process (its workers are other processes)."""

    def call(*arguments: str | Path) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["benchmark", *map(str, arguments)])
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return call


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def plugin(folder: Path, name: str, code: str) -> None:
    """Install a module with entry points of ``vae_se.methods`` into ``folder``."""
    module = f"plugin_{name}"
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    functions = [
        line.split()[1].split("(")[0].rstrip(":")
        for line in code.splitlines()
        if line.startswith(("def ", "class "))
    ]
    (info / "entry_points.txt").write_text(
        "[vae_se.methods]\n" + "".join(f"{f.replace('_', '-')} = {module}:{f}\n" for f in functions)
    )


SLOW_AND_BAD = """
import os, time
import numpy as np

def slow(noisy, rate):
    time.sleep(0.25)
    return 0.5 * noisy

def raising(noisy, rate):
    raise RuntimeError("does not\\nwork")

def crashing(noisy, rate):
    os.kill(os.getpid(), 11)

def hanging(noisy, rate):
    time.sleep(60)

def shortening(noisy, rate):
    return noisy[:-1]

def not_finite(noisy, rate):
    return noisy * np.nan

def greedy(noisy, rate):
    noisy[:] = 0
    return noisy

class scaled:
    def __init__(self, gain=1.0):
        self.gain = gain

    def enhance(self, noisy, rate):
        return self.gain * noisy
"""


@pytest.fixture
def plugged(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods above, installed for this process and those that it starts."""
    folder = tmp_path_factory.mktemp("plugin")
    plugin(folder, "bad", SLOW_AND_BAD)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_rows_meta_and_saved_audio(run: Callable[..., Done], tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    protocol = write_protocol(tmp_path / "p.toml", "[methods.noisy]\n")
    done = run(protocol, "--data-root", tmp_path, "--out", tmp_path / "out", "--save-audio")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "rows.jsonl"
    assert done.stdout.strip() == str(path)
    found = rows(path)
    assert [(r["id"], r["method"]) for r in found] == [("f0", "noisy"), ("f1", "noisy")]
    assert all(r["error"] is None and r["scores"]["si_sdr"] > 0 and r["rtf"] >= 0 for r in found)
    assert found[0]["audio_seconds"] == pytest.approx(0.7)
    meta = json.loads((tmp_path / "out/rows.meta.json").read_text())
    assert {"versions", "machine", "started", "command"} <= meta["runs"][0].keys()
    noisy, _ = sf.read(tmp_path / "noisy/f0.wav")
    kept, _ = sf.read(tmp_path / "out/audio/noisy/f0.flac")
    np.testing.assert_allclose(kept, noisy, atol=1e-4)
    assert (tmp_path / "out/audio/clean/f1.flac").is_file()
    # A second run is refused, because results exist.
    again = run(protocol, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    # Results of another protocol or of other recordings are not continued.
    common = ("--data-root", tmp_path, "--out", tmp_path / "out", "--resume")
    other = run(write_protocol(tmp_path / "p.toml", metrics='"lsd"'), *common)
    assert other.returncode == 2
    assert "another protocol" in other.stderr
    write_pairs(tmp_path, 3)
    other = run(write_protocol(tmp_path / "p.toml"), *common)
    assert other.returncode == 2
    assert "other recordings" in other.stderr


@pytest.mark.slow
def test_killed_and_resumed(run: Callable[..., Done], tmp_path: Path, plugged: None) -> None:
    write_pairs(tmp_path, 8)
    protocol = write_protocol(tmp_path / "p.toml", "[methods.noisy]\n[methods.slow]\n")
    arguments = (protocol, "--data-root", tmp_path, "--out", tmp_path / "out", "--jobs", "2")
    path = tmp_path / "out" / "rows.jsonl"
    process = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = path.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    assert 4 <= before.count(b"\n") < 16
    with path.open("ab") as stream:
        stream.write(b'{"id": "f7", "meth')  # an incomplete line, as after a crash
    done = run(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(before)
    keys = [(r["id"], r["method"]) for r in rows(path)]
    assert sorted(keys) == sorted((f"f{i}", m) for i in range(8) for m in ("noisy", "slow"))
    # Nothing is left to do.
    assert "0 results computed" in run(*arguments, "--resume").stderr


@pytest.mark.slow
def test_shards_and_jobs_give_the_table_of_one_run(run: Callable[..., Done], tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    protocol = write_protocol(tmp_path / "p.toml", "[methods.noisy]\n[methods.spectral-subtraction]\n")
    common = (protocol, "--data-root", tmp_path)
    assert run(*common, "--out", tmp_path / "one").returncode == 0
    for which in ("1/2", "2/2"):
        assert run(*common, "--out", tmp_path / "two", "--shard", which, "--jobs", "2").returncode == 0
    assert run(*common, "--out", tmp_path / "here", "--executor", "serial").returncode == 0
    one, two, here = (load_results([tmp_path / name]) for name in ("one", "two", "here"))
    assert len(two.sources) == 2
    assert to_csv(one) == to_csv(two) == to_csv(here)
    assert one.missing() == two.missing() == 0
    # The report reads the executor from the header.
    assert "Processes(jobs=2" in markdown(two)
    assert "Serial()" in markdown(here)


@pytest.mark.slow
def test_one_row_for_every_fault(run: Callable[..., Done], tmp_path: Path, plugged: None) -> None:
    write_pairs(tmp_path, 6)
    (tmp_path / "noisy/f0.wav").write_bytes(b"RIFF nothing of the kind")
    sf.write(tmp_path / "clean/f1.wav", np.zeros(5600), RATE)
    sf.write(tmp_path / "noisy/f2.wav", voice(2)[:-7], RATE)
    sf.write(tmp_path / "noisy/f3.wav", voice(3, rate=16000), 16000)
    sf.write(tmp_path / "noisy/f4.wav", np.stack([voice(4)] * 2, axis=1), RATE)
    methods = ["noisy", "raising", "crashing", "shortening", "not-finite", "greedy", "scaled"]
    tables = "".join(f"[methods.{m}]\n" + ("gain = 0.5\n" if m == "scaled" else "") for m in methods)
    protocol = write_protocol(tmp_path / "p.toml", tables)
    done = run(protocol, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 1
    found = {(r["id"], r["method"]): r for r in rows(tmp_path / "out/rows.jsonl")}
    assert len(found) == 6 * len(methods)
    for name, text in (
        ("f0", "cannot read"),
        ("f2", "unequal lengths"),
        ("f3", "sample rates differ"),
        ("f4", "2 channels"),
    ):
        for method in methods:
            assert text in found[name, method]["error"], name
            assert "\n" not in found[name, method]["error"]
    silent = found["f1", "noisy"]
    assert "the reference is silent" in silent["error"]
    assert silent["scores"] == {"si_sdr": None, "seg_snr": None}
    good = {method: found["f5", method] for method in methods}
    assert good["raising"]["error"] == "RuntimeError: does not work"
    assert good["crashing"]["error"] == "crashing: the process crashed (SIGSEGV)"
    assert "unequal lengths" in good["shortening"]["error"]
    assert "not finite" in good["not-finite"]["error"]
    assert good["noisy"]["scores"]["si_sdr"] > 0
    # The method before this one overwrote its input.
    assert good["scaled"]["scores"]["si_sdr"] == pytest.approx(good["noisy"]["scores"]["si_sdr"], abs=1e-5)
    assert "failed: f0 by noisy" in done.stderr


@pytest.mark.slow
def test_a_method_that_hangs_costs_its_own_row(tmp_path: Path, plugged: None) -> None:
    write_pairs(tmp_path, 1)
    path = write_protocol(tmp_path / "p.toml", "[methods.hanging]\n[methods.greedy]\n", metrics='"lsd"')
    options = RunOptions(out=tmp_path / "out", data_root=tmp_path, executor=Processes(1, timeout=4.0))
    outcome = run_protocol(load_protocol(path), options)
    assert [row["error"] for row in outcome.failed] == ["hanging: no result within 4 s"]
    assert [row["method"] for row in rows(outcome.rows)] == ["hanging", "greedy"]


def test_an_external_folder_is_scored_by_id(run: Callable[..., Done], tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    (tmp_path / "theirs").mkdir()
    sf.write(tmp_path / "theirs/f0.wav", voice(0), RATE, "FLOAT")
    sf.write(tmp_path / "theirs/f1.flac", voice(1, rate=16000), 16000)
    protocol = write_protocol(tmp_path / "p.toml")
    done = run(
        protocol, "--data-root", tmp_path, "--out", tmp_path / "out", "--external", f"theirs={tmp_path}/theirs"
    )
    assert done.returncode == 1
    found = {(r["id"], r["method"]): r for r in rows(tmp_path / "out/rows.jsonl")}
    assert found["f0", "theirs"]["scores"]["si_sdr"] > 60
    assert found["f0", "theirs"]["rtf"] is None
    assert "sample rates differ" in found["f1", "theirs"]["error"]
    assert "no file for f2" in found["f2", "theirs"]["error"]


@pytest.mark.slow
def test_retry_replaces_what_failed(run: Callable[..., Done], tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    good = (tmp_path / "noisy/f1.wav").read_bytes()
    # Of the same size; otherwise the test set would differ.
    (tmp_path / "noisy/f1.wav").write_bytes(b"x" * len(good))
    protocol = write_protocol(tmp_path / "p.toml")
    common = (protocol, "--data-root", tmp_path, "--out", tmp_path / "out")
    assert run(*common).returncode == 1
    assert run(*common, "--resume").returncode == 1  # kept, and still counted
    (tmp_path / "noisy/f1.wav").write_bytes(good)
    done = run(*common, "--retry-failed")
    assert done.returncode == 0, done.stderr
    results = load_results([tmp_path / "out"])
    assert results.failures() == {"noisy": {}}
    assert len(rows(tmp_path / "out/rows.jsonl")) == 3


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(run: Callable[..., Done], tmp_path: Path) -> None:
    write_pairs(tmp_path, 20)
    protocol = write_protocol(tmp_path / "p.toml")
    common = (protocol, "--data-root", tmp_path, "--out", tmp_path / "out", "-q")

    # A limit on file sizes has the effects of a full disk: a short write and an OSError.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        done = run(*common)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    path = tmp_path / "out/rows.jsonl"
    assert path.read_bytes().endswith(b"\n")
    assert 0 < len(rows(path)) < 20
    assert run(*common, "--resume").returncode == 0
    assert sorted(r["id"] for r in rows(path)) == sorted(f"f{i}" for i in range(20))


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_valid_rows(tmp_path: Path, plugged: None) -> None:
    write_pairs(tmp_path, 8)
    protocol = write_protocol(tmp_path / "p.toml", "[methods.slow]\n")
    path = tmp_path / "out/rows.jsonl"
    process = subprocess.Popen(
        command(protocol, "--data-root", tmp_path, "--out", tmp_path / "out"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A child of nohup or of a job runner inherits a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not path.exists() or not path.read_bytes()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert 0 < len(rows(path)) < 8
    assert "Traceback" not in err


def test_torn_and_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"id": "a", "method": "m"}\n'
    path.write_bytes(good + b'{"id": "b"')
    found, size = read_rows(path)
    assert [r["id"] for r in found] == ["a"]
    file = RowFile(path, size)
    file.append({"id": "c", "method": "m"})
    with pytest.raises(OutputError, match="another run"):
        RowFile(path, 0)
    file.close()
    assert [r["id"] for r in read_rows(path)[0]] == ["a", "c"]
    path.write_bytes(good + b"garbage\n" + good)
    with pytest.raises(UsageError, match="line 2"):
        read_rows(path)
    with pytest.raises(OutputError):
        RowFile(tmp_path / "rows.jsonl" / "x.jsonl")
