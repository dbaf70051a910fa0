"""Plots of results: score over input SNR, score over processing time, and per-file scores over noisy scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OutputError, UsageError
from .report import REFERENCE, Results
from .statistics import real_time_factor, summarise
from .tables import heading, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Write PNG files into ``folder`` and return their paths; plots without data are left out.

    Raises UsageError without matplotlib (the extra ``plot``), OutputError where a file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise UsageError("plots need matplotlib", "pip install 'vae-se[plot]'") from None
    from matplotlib.figure import Figure

    # A Figure instead of pyplot: no global state, no window.
    style: Any = {"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False}
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for title, draw in (("score-by-snr", _by_snr), ("quality-by-time", _by_time), ("per-file", _per_file)):
            with matplotlib.rc_context(style):
                figure = Figure(layout="constrained")
                if draw(results, figure):
                    figure.savefig(folder / f"{title}.png", dpi=130)
                    made.append(folder / f"{title}.png")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}", "check the folder") from error
    return made


def _axes(figure: Figure, results: Results) -> list[Axes]:
    """One panel per metric; the figure grows with their number."""
    count = len(results.metrics)
    columns = min(_COLUMNS, count)
    lines = -(-count // columns)
    figure.set_size_inches(4.2 * columns, 3.4 * lines + 0.5)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.set_axis_off()
    return list(grid[:count])


def _style(index: int) -> dict[str, Any]:
    """Colour and marker of a line, so that lines differ by more than their colour."""
    return {"color": f"C{index % 10}", "marker": "osD^vPX*<>"[index % 10], "markersize": 5}


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))


def _by_snr(results: Results, figure: Figure) -> bool:
    groups = results.groups("snr_db")
    if len(groups) < 2:
        return False
    panels = _axes(figure, results)
    for axis, metric in zip(panels, results.metrics, strict=True):
        for index, method in enumerate(results.methods):
            found = [summarise(results, method, metric, ids) for ids in groups.values()]
            mean = np.array([s.mean for s in found])
            error = np.array([[s.mean - s.low, s.high - s.mean] for s in found]).T
            axis.errorbar(list(groups), mean, np.nan_to_num(error), label=name(results, method), capsize=2,
                          linewidth=1.2, elinewidth=0.7, **_style(index))  # fmt: skip
        axis.set_xlabel("input SNR [dB]")
        axis.set_ylabel(heading(metric))
    _legend(figure, panels[0])
    return True


def _by_time(results: Results, figure: Figure) -> bool:
    timed = [m for m in results.methods if m != REFERENCE and real_time_factor(results, m)[0] > 0]
    if not timed:
        return False
    panels = _axes(figure, results)
    for axis, metric in zip(panels, results.metrics, strict=True):
        for index, method in enumerate(results.methods):
            if method in timed:
                s = summarise(results, method, metric)
                rtf = real_time_factor(results, method)[0]
                axis.errorbar(rtf, s.mean, np.nan_to_num([[s.mean - s.low], [s.high - s.mean]]), capsize=2,
                              linestyle="none", label=name(results, method), **_style(index))  # fmt: skip
        if REFERENCE in results.methods:
            axis.axhline(
                summarise(results, REFERENCE, metric).mean, color="0.4", linestyle=":", label=REFERENCE
            )
        axis.set_xscale("log")
        axis.set_xlabel("real-time factor, one thread")
        axis.set_ylabel(heading(metric))
    _legend(figure, panels[0])
    return True


def _per_file(results: Results, figure: Figure) -> bool:
    if REFERENCE not in results.methods or len(results.methods) < 2:
        return False
    panels = _axes(figure, results)
    for axis, metric in zip(panels, results.metrics, strict=True):
        before = results.values(REFERENCE, metric)
        for index, method in enumerate(results.methods):
            if method != REFERENCE:
                style = {**_style(index), "markersize": 3, "alpha": 0.7, "linestyle": "none"}
                label = name(results, method)
                axis.plot(before, results.values(method, metric), label=label, **style)
        known = before[np.isfinite(before)]
        if known.size:
            axis.axline((float(known.min()), float(known.min())), slope=1, color="0.4", linestyle=":")
        axis.set_xlabel(f"{metric} of the noisy file")
        axis.set_ylabel(heading(metric))
    _legend(figure, panels[0])
    return True
