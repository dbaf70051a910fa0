"""``--threads`` and ``--jobs``: how many threads a worker uses, and that the output does not depend on it."""

from __future__ import annotations

import contextlib

import pytest

from vae_se.benchmark import runner
from vae_se.enhancement import segmented_em, stream

FEW = ("--set", "inference.iterations=2", "--set", "inference.averaging=1")


@pytest.fixture
def asked(monkeypatch):
    """The numbers of threads that enhancement asked for; None: as many as torch is set to use."""
    numbers = []

    def record(threads):
        numbers.append(threads)
        return contextlib.nullcontext()

    for module in (segmented_em, stream):
        monkeypatch.setattr(module, "dividing_work", record)
    return numbers


@pytest.mark.parametrize(
    ("options", "threads"),
    [((), None), (("-j", "1"), 1), (("--threads", "3"), 3), (("-j", "1", "--threads", "2"), 2)],
)
def test_threads_of_a_worker(cli, wav, make_noisy, tiny_prior, tmp_path, asked, options, threads):
    noisy = wav("noisy.wav", make_noisy(0.3))
    ran = cli("enhance", noisy, "-o", tmp_path / "out.wav", "--prior", tiny_prior, *FEW, *options)
    assert ran.code == 0, ran.err
    assert asked == [threads]


def test_threads_do_not_change_the_output(cli, wav, make_noisy, tiny_prior, tmp_path):
    noisy = wav("noisy.wav", make_noisy(5.0))
    for name, options in (("one", ("-j", "1")), ("three", ("--threads", "3"))):
        assert not cli(
            "enhance", noisy, "-o", tmp_path / f"{name}.wav", "--prior", tiny_prior, *FEW, *options
        ).code
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "three.wav").read_bytes()


def test_a_stream_takes_one_thread_unless_told(cli, wav, make_noisy, tiny_prior, tmp_path, asked):
    noisy = wav("noisy.wav", make_noisy(0.5))
    for options, threads in ((), 1), (("--threads", "2"), 2):
        asked.clear()
        ran = cli(
            "stream", noisy, "-o", tmp_path / "out.wav", "--overwrite", "--prior", tiny_prior, *FEW, *options
        )
        assert ran.code == 0, ran.err
        assert set(asked) == {threads}


@pytest.mark.parametrize(("options", "threads"), [((), 1), (("--threads", "2"), 2)])
def test_threads_of_a_benchmark(cli, monkeypatch, tmp_path, options, threads):
    found = []

    def run(protocol, settings, progress):
        found.append(settings.threads)
        return runner.RunOutcome(tmp_path)

    monkeypatch.setattr(runner, "run", run)
    assert cli("benchmark", "quick", *options).code == 0
    assert found == [threads]


def test_no_threads_is_a_usage_error(cli):
    assert cli("enhance", "x.wav", "--threads", "0").code == 2
