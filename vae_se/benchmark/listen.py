"""A listening page: one HTML file that contains audio, spectrograms and scores, and needs no server."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from .picture import levels, spectrogram
from .report import REFERENCE, Results
from .statistics import direction, higher_is_better, real_time_factor, summarise
from .unit import audio_path

CLEAN = "clean"


def listening_page(results: Results, count: int = 24, methods: list[str] | None = None) -> str:
    """The page as text, with at most ``count`` mixtures at even steps from the worst change to the best.

    ``methods``: the methods on the page (default: all), besides noisy and clean. Raises UsageError where the
    benchmark saved no audio.
    """
    heard = [results.check(method) for method in methods] if methods else list(results.methods)
    if REFERENCE in results.methods and REFERENCE not in heard:
        heard.insert(0, REFERENCE)
    roots = list(dict.fromkeys(path.parent / "audio" for path in results.sources))
    available = [name for name in results.ids if any(_find(roots, method, name) for method in heard)]
    if not available:
        raise UsageError(
            f"no audio beside {', '.join(str(path) for path in results.sources)}",
            "run the benchmark with --save-audio",
        )
    focus = next((m for m in reversed(heard) if m != REFERENCE and not results.oracle(m)), heard[-1])
    chosen = _spread(results, available, focus, count)
    data: dict[str, Any] = {
        "name": results.meta["protocol"]["name"],
        "title": f"{results.meta['protocol']['name']}: {len(heard)} methods side by side",
        "about": _about(results, available, chosen, focus),
        "metrics": [
            {"name": metric, "better": direction(metric), "unit": _unit(metric)} for metric in results.metrics
        ],
        "methods": heard,
        "names": {method: _name(results, method) for method in heard},
        "summary": _summary(results, heard),
        "oracles": [method for method in heard if results.oracle(method)],
        "focus": focus,
        "items": [_item(results, roots, heard, name) for name in chosen],
    }
    # "</" would end the script element that contains the data.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    template = files("vae_se.benchmark").joinpath("listen.html").read_text(encoding="utf-8")
    return template.replace("/*DATA*/", text)


def _unit(metric: str) -> str:
    """The unit of a metric, or ""."""
    from ..metrics import METRICS
    from .figures import FIGURES

    if metric in FIGURES:
        return FIGURES[metric].unit
    return METRICS[metric].unit if metric in METRICS else ""


def _name(results: Results, method: str) -> str:
    """What a method is called on the page: this program's presets by the name of the program."""
    from .methods import ENHANCERS

    return f"vae-se, {method}" if results.use(method) in ENHANCERS else method


def _summary(results: Results, methods: list[str]) -> dict[str, Any]:
    """For the table on top: means over all files by method and metric, the number of files, and the speed."""
    rows = []
    for method in methods:
        means = {metric: summarise(results, method, metric).mean for metric in results.metrics}
        speed, _ = real_time_factor(results, method)
        rows.append({"method": method, "means": {m: _known(v) for m, v in means.items()}, "rtf": _known(speed)})
    return {"files": len(results.ids), "rows": rows}


def _known(value: float) -> float | None:
    """The value, or None for NaN, which JSON does not have."""
    return None if value != value else value


def _about(results: Results, available: list[str], chosen: list[str], focus: str) -> str:
    text = results.meta["protocol"]["description"]
    if len(chosen) < len(available):
        text += (
            f" {len(chosen)} of {len(available)} mixtures, at even steps from the worst to the best change of "
            f"{results.metrics[0]} by {focus}."
        )
    else:
        text += f" {len(chosen)} mixture{'' if len(chosen) == 1 else 's'}."
    return text.strip()


def _spread(results: Results, available: list[str], method: str, count: int) -> list[str]:
    """At most ``count`` ids at even steps of the ranking by change; files without a score rank last."""
    if len(available) <= count:
        return available
    metric = results.metrics[0]
    difference = results.values(method, metric, available)
    if REFERENCE in results.methods:
        difference = difference - results.values(REFERENCE, metric, available)
    if not higher_is_better(metric):
        difference = -difference
    ranked = [available[i] for i in np.argsort(difference, kind="stable")]
    steps = np.linspace(0, len(ranked) - 1, count).round().astype(int)
    return sorted(ranked[i] for i in steps)


def _find(roots: list[Path], method: str, name: str) -> Path | None:
    for root in roots:
        path = audio_path(root, method, name)
        if path.is_file():
            return path
    return None


def _item(results: Results, roots: list[Path], methods: list[str], name: str) -> dict[str, Any]:
    from ..data.files import read

    sounds: dict[str, tuple[Path, np.ndarray, int]] = {}
    for key in [CLEAN, *methods]:
        path = _find(roots, key, name)
        if path is not None and key not in sounds:
            samples, rate = read(path)
            sounds[key] = (path, samples, rate)
    # One scale for all spectrograms of a mixture, so that levels can be compared.
    top = max(float(levels(samples, rate).max()) for _, samples, rate in sounds.values())
    row = next(results.cells[name, m] for m in results.methods if (name, m) in results.cells)
    stimuli: dict[str, Any] = {}
    for key, (path, samples, rate) in sounds.items():
        cell = results.cells.get((name, key))
        stimuli[key] = {
            "audio": _uri("audio/flac", path.read_bytes()),
            "picture": _uri("image/png", spectrogram(samples, rate, top)),
            "scores": None if cell is None else cell["scores"],
        }
    _, samples, rate = next(iter(sounds.values()))
    return {
        "id": name,
        "noise": row["noise"],
        "snr": row["snr_db"],
        "seconds": samples.size / rate,
        "stimuli": stimuli,
    }


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
