"""Faults in a long run of vae-se enhance: nothing is lost or half written, and the rest is done."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vae_se.audio import files


@pytest.fixture
def quick(tiny_prior):
    """Options that make a file cheap: a small prior, few iterations."""
    return ["--prior", str(tiny_prior), "--set", "inference.iterations=3", "--device", "cpu"]


@pytest.fixture
def folder(wav, make_noisy, tmp_path):
    """Seven recordings of two rates."""
    for seed in range(7):
        rate = 8000 if seed == 3 else 16000
        wav(f"in/{seed}.wav", make_noisy(0.3 + 0.1 * seed, rate, seed=seed), rate)
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for child in (task / "children").read_text().split()
    ]


def wait_for(condition, seconds: float = 120.0) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_same_files_from_processes_and_from_shards(cli, quick, folder, tmp_path):
    common = ("enhance", folder, *quick, "-q", "--batch", 2)  # 16 kHz: three of two files; 8 kHz: one of one
    assert cli(*common, "-o", tmp_path / "serial", "--executor", "serial").code == 0
    assert cli(*common, "-o", tmp_path / "two", "--jobs", 2).code == 0
    for shard in ("1/3", "2/3", "3/3"):
        ran = cli(*common, "-o", tmp_path / "shards", "--shard", shard, "--json")
        assert ran.code == 0
        assert 1 <= len(ran.out.splitlines()) <= 3
    serial = contents(tmp_path / "serial")
    assert len(serial) == 7
    assert contents(tmp_path / "two") == contents(tmp_path / "shards") == serial


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_nothing(cli, quick, folder, tmp_path):
    arguments = ["enhance", str(folder), *quick, "-q", "--batch", "1"]
    assert cli(*arguments, "-o", tmp_path / "serial").code == 0
    out = tmp_path / "out"
    run = subprocess.Popen([sys.executable, "-m", "vae_se", *arguments, "-o", out, "--jobs", "2"])
    wait_for(lambda: out.is_dir() and list(out.glob("*.wav")))
    victims = children(run.pid)
    os.kill(victims[0], signal.SIGKILL)
    assert run.wait(120) == 0
    written = {name: data for name, data in contents(out).items() if not name.startswith(".")}
    assert written == contents(tmp_path / "serial")


KILLS = """
import os
from vae_se.audio import files
read = files.read
def reading(source, *arguments):
    if "killer" in str(source):
        os.abort()
    return read(source, *arguments)
files.read = reading
"""


@pytest.mark.slow
def test_a_file_that_kills_its_worker_is_one_failure(
    cli, quick, folder, make_noisy, wav, tmp_path, monkeypatch
):
    wav("in/killer.wav", make_noisy(0.5))
    (tmp_path / "sitecustomize.py").write_text(KILLS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ran = cli("enhance", folder, *quick, "-o", tmp_path / "out", "--jobs", 2)
    assert ran.code == 1
    assert "7 done, 1 failed" in ran.err
    assert "killer.wav: the process crashed (SIGABRT)" in ran.err.splitlines()[-2]
    assert len(contents(tmp_path / "out")) == 7


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_sigkill_leaves_no_half_of_a_file_and_a_rerun_does_the_rest(quick, folder, tmp_path, jobs):
    out = tmp_path / "out"
    arguments = ["enhance", str(folder), *quick, "-o", str(out), "--jobs", str(jobs), "--batch", "1"]
    run = subprocess.Popen([sys.executable, "-m", "vae_se", *arguments], stderr=subprocess.DEVNULL)
    wait_for(lambda: out.is_dir() and list(out.glob("*.wav")))
    workers = children(run.pid)
    assert len(workers) == (0 if jobs == 1 else 2)
    run.kill()
    run.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    for path in before:
        source = folder / path.name.replace("_enhanced", "")
        assert soundfile.info(path).frames == soundfile.info(source).frames
    again = subprocess.run([sys.executable, "-m", "vae_se", *arguments], stderr=subprocess.PIPE, text=True)
    assert again.returncode == 0
    assert f"{7 - len(before)} done" in again.stderr or len(before) == 7
    assert len(list(out.glob("*.wav"))) == 7
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_noise_of_a_run_that_was_cut_off_is_replaced(cli, quick, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "0_enhanced_noise.wav").write_text("the speech to this was never written")
    ran = cli("enhance", folder / "0.wav", *quick, "-o", f"{out}/", "--save-noise")
    assert ran.code == 0, ran.err
    assert soundfile.info(out / "0_enhanced_noise.wav").frames == 4800


def test_a_full_disk_fails_what_does_not_fit(cli, quick, wav, make_noisy, tmp_path):
    for name, seconds in (("a", 0.5), ("b", 3.0), ("c", 0.5)):
        wav(f"in/{name}.wav", make_noisy(seconds))
    # A limit on the size of files stands in for a full disk: the same short write and OSError.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        ran = cli("enhance", tmp_path / "in", *quick, "-o", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.code == 1
    assert "2 done, 1 failed" in ran.err
    assert "cannot write" in ran.err.splitlines()[-2]
    assert sorted(contents(tmp_path / "out")) == ["a_enhanced.wav", "c_enhanced.wav"]
    assert cli("enhance", tmp_path / "in", *quick, "-o", tmp_path / "out").code == 0


def test_folders_that_cannot_be_written(cli, quick, wav, make_noisy, tmp_path):
    wav("in/good.wav", make_noisy(0.2))
    wav("in/sub/lost.wav", make_noisy(0.2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file where a folder is to be")
    ran = cli("enhance", tmp_path / "in", *quick, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "1 done, 1 failed" in ran.err
    ran = cli("enhance", tmp_path / "in", *quick, "-o", "/proc/nowhere")
    assert ran.code == 1
    assert "2 failed" in ran.err


def test_a_file_that_changes_while_it_is_read(cli, quick, folder, tmp_path, monkeypatch):
    read = files.read

    def reading(source, *arguments):
        recording = read(source, *arguments)
        if Path(source).name == "2.wav":
            with Path(source).open("ab") as file:
                file.write(np.zeros(100, np.int16).tobytes())
        return recording

    monkeypatch.setattr(files, "read", reading)
    ran = cli("enhance", folder, *quick, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "6 done, 1 failed" in ran.err
    assert "2.wav changed while it was read" in ran.err
    assert not (tmp_path / "out" / "2_enhanced.wav").exists()


def test_options_of_the_engine(cli, quick, folder, tmp_path):
    for arguments, words in (
        (("--jobs", "0"), "neither a positive integer"),
        (("--batch", "many"), "neither a positive integer"),
        (("--executor", "rya"), "ray"),
        (("--executor", "serial", "--address", "auto"), "--executor ray"),
        (("--executor", "ray", "--slurm", "timeout_min=3"), "--executor slurm"),
        (("--executor", "slurm", "--slurm", "timeout_min"), "KEY=VALUE"),
        (("--shard", "3/2"), "I/N"),
        (("--executor", "slurm", "--noise-group", "all"), "noise fit"),
    ):
        ran = cli("enhance", folder, *quick, "-o", tmp_path / "out", *arguments)
        assert ran.code == 2, (arguments, ran.err)
        assert words in ran.err
    assert not (tmp_path / "out").exists()
