"""Quality against time: python eval/scripts/estep_plot.py RESULTS [-o eval/results/estep.png]

RESULTS: the results of vae-se benchmark estep. A method NAME-ITERATIONS is a point of the line NAME, labelled
with its iterations; other methods are single points. Time is processing time over duration of all files, on
one thread; scores are means over files. The frontier, drawn in grey, consists of the points that no faster
point equals.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from vae_se.benchmark.report import Results, load_results
from vae_se.benchmark.statistics import real_time_factor, summarise
from vae_se.benchmark.tables import heading

TARGET = Path(__file__).resolve().parents[1] / "results" / "estep.png"
METRICS = ("si_sdr", "pesq_wb")


@dataclasses.dataclass(frozen=True)
class Point:
    """One method: its line, its label, processing time over duration, and mean scores by metric."""

    line: str
    label: str
    seconds: float
    scores: dict[str, float]


def split(method: str) -> tuple[str, str]:
    """Line and iterations of a method's name, such as ("vem-full", "12"); the iterations may be empty."""
    line, _, last = method.rpartition("-")
    return (line, last) if line and last.isdigit() else (method, "")


def points(results: Results) -> list[Point]:
    """All methods with a processing time, fastest first, without the noisy recording."""
    found = []
    for method in results.methods:
        seconds, _ = real_time_factor(results, method)
        if method != "noisy" and seconds > 0:
            scores = {metric: summarise(results, method, metric).mean for metric in METRICS}
            found.append(Point(*split(method), seconds, scores))
    return sorted(found, key=lambda point: point.seconds)


def frontier(ordered: list[Point], metric: str) -> list[Point]:
    """The points, fastest first, whose score no faster point equals."""
    kept: list[Point] = []
    for point in ordered:
        if not kept or point.scores[metric] > kept[-1].scores[metric]:
            kept.append(point)
    return kept


def draw(axis: Any, ordered: list[Point], metric: str) -> None:
    """Draw one metric over time."""
    best = frontier(ordered, metric)
    axis.step(
        [p.seconds for p in best], [p.scores[metric] for p in best], where="post", color="0.8", linewidth=4
    )
    for index, line in enumerate(dict.fromkeys(point.line for point in ordered)):
        mine = [point for point in ordered if point.line == line]
        seconds, scores = [p.seconds for p in mine], [p.scores[metric] for p in mine]
        # Markers besides colours, so that lines differ by more than their colour.
        axis.plot(seconds, scores, label=line, color=f"C{index % 10}", marker="osD^vPX*<>hp8"[index % 13],
                  markersize=5, linewidth=1)  # fmt: skip
        for point in mine:
            axis.annotate(point.label, (point.seconds, point.scores[metric]), xytext=(3, 3),
                          textcoords="offset points", fontsize=6)  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("seconds of computing per second of audio, one thread")
    axis.set_ylabel(heading(metric))
    axis.grid(alpha=0.3)


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="folders or rows.jsonl of the estep protocol")
    parser.add_argument("-o", "--out", type=Path, default=TARGET)
    options = parser.parse_args()
    ordered = points(load_results(options.results))
    figure = Figure((10, 5), layout="constrained")
    panels = figure.subplots(1, len(METRICS))
    for axis, metric in zip(panels, METRICS, strict=True):
        draw(axis, ordered, metric)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8)
    figure.savefig(options.out, dpi=130)
    print(options.out)


if __name__ == "__main__":
    main()
