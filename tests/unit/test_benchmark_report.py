"""Reports: coverage of intervals, paired differences, counts of failures, merging of files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae_se.benchmark.plots import write_plots
from vae_se.benchmark.report import Results, load_results
from vae_se.benchmark.statistics import change, interval, real_time_factor, summarise
from vae_se.benchmark.tables import markdown, number, terminal, to_csv
from vae_se.cli import main
from vae_se.errors import UsageError

MACHINE = {"processor": "x", "cores": 2, "memory_gib": 1.0, "system": "Linux"}


def write(path: Path, cells: dict[tuple[str, str], dict[str, Any]], digest: str = "d") -> Path:
    """Rows and their header; a cell may replace any key of its row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    methods = list(dict.fromkeys(method for _, method in cells))
    run = {"started": "t", "command": ["vae-se", "benchmark", "p q.toml"], "methods": methods, "executor": "E",
           "shard": "1/1", "versions": {"numpy": "2", "pesq": "absent"}, "machine": MACHINE}  # fmt: skip
    meta = {
        "protocol": {"name": "p", "description": "A | B", "digest": digest, "set": "pairs", "data": {}},
        "metrics": ["si_sdr", "lsd"],
        "methods": {m: {"use": m, "options": {}} for m in methods},
        "testset": {"entries": 4, "fingerprint": "f" * 64},
        "seed": 1,
        "runs": [run],
    }
    path.with_suffix(".meta.json").write_text(json.dumps(meta))
    with path.open("w") as stream:
        for (name, method), changes in cells.items():
            row = {"id": name, "method": method, "snr_db": None, "noise": None, "audio_seconds": 2.0,
                   "seconds": 1.0, "rtf": 0.5, "scores": {}, "failures": {}, "error": None}  # fmt: skip
            stream.write(json.dumps({**row, **changes}) + "\n")
    return path


def cells(method: str, scores: list[float | None], lsd: float = 5.0) -> dict[tuple[str, str], dict[str, Any]]:
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for i, score in enumerate(scores):
        out[f"f{i}", method] = {
            "scores": {"si_sdr": score, "lsd": lsd},
            "failures": {} if score is not None else {"si_sdr": "silent"},
            "snr_db": float(-5 + 10 * (i % 2)),
            "noise": "rain" if i < 2 else "bus",
        }
    return out


@pytest.fixture
def results(tmp_path: Path) -> Results:
    rows = cells("noisy", [0.0, 1.0, 2.0, 3.0])
    rows |= cells("new", [2.0, 0.5, 4.0, None], lsd=4.0) | cells("oracle-wiener", [9.0] * 4)
    rows["f2", "oracle-wiener"] = {
        "scores": {"si_sdr": None, "lsd": None},
        "error": "it crashed",
        "seconds": None,
    }
    return load_results([write(tmp_path / "r/rows.jsonl", rows)])


def test_summaries_and_paired_changes(results: Results) -> None:
    s = summarise(results, "new", "si_sdr")
    assert (s.n, s.failed) == (3, 1)
    assert s.mean == pytest.approx(6.5 / 3)
    assert s.median == 2.0
    assert s.low <= s.mean <= s.high
    c = change(results, "new", "noisy", "si_sdr")
    assert (c.n, c.wins, c.losses) == (3, 2, 1)
    assert c.mean == pytest.approx((2 - 0.5 + 2) / 3)
    # Lower is better: a fall of the distance is a win.
    c = change(results, "new", "noisy", "lsd")
    assert (c.mean, c.wins, c.losses) == (-1.0, 4, 0)
    assert summarise(results, "new", "si_sdr", results.groups("snr_db")[5.0]).mean == 0.5
    assert real_time_factor(results, "new") == (0.5, 0.5)
    assert results.failures()["oracle-wiener"] == {"it crashed": 1}


def test_the_interval_covers_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = interval(rng.normal(1.0, 2.0, 40), trial)
        covered += low <= 1.0 <= high
    assert 0.87 * 200 <= covered <= 200  # a percentile bootstrap of 40 covers a little less than 95 %
    values = rng.normal(size=30)
    assert interval(values, "a") == interval(values, "a")
    assert all(np.isnan(interval(np.ones(1), "a")))


def test_the_interval_is_the_central_95_percent_of_the_distribution_of_the_mean() -> None:
    """Of many values: mean +- 1.96 standard errors, also where the mean is not the median."""
    for values in (np.random.default_rng(1).normal(3, 2, 900), np.random.default_rng(2).exponential(2, 900)):
        low, high = interval(values, "a")
        error = values.std(ddof=1) / 30
        assert (high - low) / (2 * error) == pytest.approx(1.96, rel=0.05)
        assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.2 * error)


@pytest.fixture
def twins(tmp_path: Path) -> Results:
    """Two methods with the same rows, and a third that differs and lacks a score."""
    rng = np.random.default_rng(3)
    first, other = rng.normal(0, 3, (2, 30)).tolist()
    rows = cells("a", first) | cells("b", first) | cells("c", [*other[:-1], None])
    return load_results([write(tmp_path / "r/rows.jsonl", rows)])


def test_methods_with_identical_rows_have_identical_intervals(twins: Results) -> None:
    for ids in (None, twins.groups("snr_db")[5.0]):
        assert summarise(twins, "a", "si_sdr", ids) == summarise(twins, "b", "si_sdr", ids)
        assert change(twins, "a", "c", "si_sdr", ids) == change(twins, "b", "c", "si_sdr", ids)
    assert summarise(twins, "a", "si_sdr").low < summarise(twins, "a", "si_sdr").high


def test_the_reversed_change_is_the_mirror_image(twins: Results) -> None:
    for ids in (None, twins.groups("snr_db")[5.0]):
        one, other = change(twins, "a", "c", "si_sdr", ids), change(twins, "c", "a", "si_sdr", ids)
        assert (one.mean, one.low, one.high) == (-other.mean, -other.high, -other.low)
        assert (one.wins, one.losses) == (other.losses, other.wins)


def test_the_stream_belongs_to_the_metric_and_the_set_of_files(twins: Results) -> None:
    """The order of the files makes no difference; other files, and another metric, are resampled anew."""
    whole = summarise(twins, "a", "si_sdr")
    assert summarise(twins, "a", "si_sdr", twins.ids[::-1]) == whole
    values = twins.values("a", "si_sdr")
    assert interval(values, "si_sdr", *twins.ids) == (whole.low, whole.high)
    assert interval(values, "lsd", *twins.ids) != (whole.low, whole.high)
    assert interval(values, "si_sdr", *twins.ids[1:], "another") != (whole.low, whole.high)


def test_text_of_the_tables(results: Results) -> None:
    text = terminal(results)
    assert "p: 4 mixtures, means (paired change against noisy)" in text
    assert "2.17 (+1.17)" in text
    assert "oracle-wiener (oracle)" in text
    assert "1 files" in text
    narrow = terminal(results, width=50).splitlines()
    assert max(map(len, narrow[1:])) <= 50
    assert sum(line.startswith("noisy ") for line in narrow) > 1
    page = markdown(results, against="new")
    for part in ("## Mean\n", "## Change against noisy", "## Change against new", "2:1", "## Mean by input SNR",
                 "| rain | 2 |", "it crashed", "si_sdr: silent", "'p q.toml'", "numpy 2"):  # fmt: skip
        assert part in page, part
    assert "pesq absent" not in page
    assert "nan" not in page
    # Every line of a table has as many cells as its header.
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.strip().splitlines()}) == 1
    assert (number(float("nan")), number(0.1234), number(-12.345, True), number(123.4)) == (
        "–",
        "0.123",
        "-12.35",
        "123.4",
    )


def test_csv_is_complete(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(results, against="new"))))
    assert len(rows) == 3 * 2 * 5  # methods, metrics, groups: all, two SNRs, two noises
    row = next(r for r in rows if (r["method"], r["metric"], r["group"]) == ("new", "si_sdr", "all"))
    assert (row["n"], row["failed"], row["vs_noisy_wins"], row["vs_new_mean"]) == ("3", "1", "2", "0")
    row = next(r for r in rows if (r["method"], r["group"], r["value"]) == ("new", "noise", "bus"))
    assert row["low"] == ""  # one value has no interval


def test_merging(tmp_path: Path) -> None:
    rows = cells("noisy", [0.0, 1.0, 2.0, 3.0])
    keys = sorted(rows)
    write(tmp_path / "a/rows-1of2.jsonl", {k: rows[k] for k in keys[::2]})
    write(tmp_path / "a/rows-2of2.jsonl", {k: rows[k] for k in keys[1::2]})
    whole = load_results([write(tmp_path / "b/rows.jsonl", rows)])
    parts = load_results([tmp_path / "a"])
    assert to_csv(parts) == to_csv(whole)
    more = write(tmp_path / "c/rows.jsonl", cells("new", [1.0, 1.0]))
    both = load_results([tmp_path / "b", more])
    assert both.methods == ("noisy", "new")
    assert both.missing() == 2
    assert "incomplete: 2 of 8" in terminal(both)
    with pytest.raises(UsageError, match="differ in their protocol"):
        load_results([tmp_path / "b", write(tmp_path / "d/rows.jsonl", rows, digest="other")])
    with pytest.raises(UsageError, match="no results in"):
        load_results([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="yet"):
        load_results([write(tmp_path / "e/rows.jsonl", {})])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.jsonl", cells("noisy", [1.0, 2.0]) | cells("new", [2.0, 2.0]))

    def call(*arguments: str | Path) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["report", *map(str, arguments)])
        return int(ended.value.code or 0)

    assert call(path, "--csv", tmp_path / "deep/x.csv") == 0
    out, err = capsys.readouterr()
    assert out.startswith("p: 2 mixtures")
    assert "wrote" in err
    assert (tmp_path / "deep/x.csv").read_text().startswith("method,")
    assert call(path, "--markdown", "-") == 0
    assert capsys.readouterr().out.startswith("# p\n")
    assert call(path, "--against", "nwe") == 2
    assert "did you mean new" in capsys.readouterr().err
    assert call(path, "--csv", path / "x") == 1
    assert call(path, "--listen", tmp_path / "x.html") == 2
    assert "--save-audio" in capsys.readouterr().err


def test_plots_are_written(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    made = write_plots(results, tmp_path / "plots")
    assert [path.name for path in made] == ["score-by-snr.png", "quality-by-time.png", "per-file.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)


def test_old_headers_have_jobs_instead_of_an_executor(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", cells("noisy", [1.0]))
    meta = json.loads(path.with_suffix(".meta.json").read_text())
    del meta["runs"][0]["executor"]
    meta["runs"][0]["jobs"] = 2
    path.with_suffix(".meta.json").write_text(json.dumps(meta))
    assert "one thread per file, 2 files at a time." in markdown(load_results([path]))
