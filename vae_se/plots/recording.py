"""Picture of an enhanced recording: input, output and the estimates of inference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from .canvas import decibels, figure, image_of, save

# More columns are averaged: no screen shows them, and the picture of an hour would take gigabytes.
_MAX_COLUMNS = 1500


@dataclasses.dataclass(frozen=True)
class Picture:
    """Contents of the picture of one channel.

    ``noisy``, ``speech``, ``noise`` and ``uncertainty``: powers (N, F) on one scale; ``gain`` (N,);
    ``objective``: one value per iteration; ``factors``: (start, W (K, F), H (N', K)) of the segment that starts
    at frame ``start``, or None; ``segments``: number of segments. ``rate`` in Hz, ``hop`` in samples.
    """

    title: str
    noisy: np.ndarray
    speech: np.ndarray
    noise: np.ndarray
    uncertainty: np.ndarray
    gain: np.ndarray
    objective: list[float]
    factors: tuple[int, np.ndarray, np.ndarray] | None
    segments: int
    rate: int
    hop: int


def draw(picture: Picture, path: str | Path) -> None:
    """Draw to the file ``path``; its extension is the format. Raises OutputError where it cannot be written."""
    made = figure(14, 13)
    made.suptitle(picture.title)
    panels = made.subplots(4, 2)
    duration = len(picture.noisy) * picture.hop / picture.rate
    top = 10 * np.log10(max(picture.noisy.max(), 1e-20))
    extent = (0, duration, 0, picture.rate / 2000)
    names = ("noisy", "enhanced", "estimated noise", "uncertainty (posterior variance of the speech)")
    powers = (picture.noisy, picture.speech, picture.noise, picture.uncertainty)
    for panel, name, power in zip(panels.flat, names, powers, strict=False):
        image = image_of(panel, decibels(thin(power)).T, extent, top)
        panel.set(title=name, xlabel="time [s]", ylabel="frequency [kHz]")
    made.colorbar(image, ax=panels[:2], label="power [dB]")
    _draw_factors(made, panels[2], picture)
    gain, trace = panels[3]
    time = (np.arange(len(picture.gain)) + 0.5) * picture.hop / picture.rate
    gain.plot(time, 10 * np.log10(np.maximum(picture.gain, 1e-12)), linewidth=0.8)
    gain.set(title="gain of the speech", xlabel="time [s]", ylabel="gain [dB]", xlim=(0, duration))
    trace.plot(np.arange(1, len(picture.objective) + 1), picture.objective)
    trace.set(title="objective", xlabel="iteration", ylabel="nats per frame")
    save(made, path)


def thin(power: np.ndarray) -> np.ndarray:
    """Average runs of frames of (N, F), so that at most 1500 remain."""
    run = -(-len(power) // _MAX_COLUMNS)
    starts = np.arange(0, len(power), run)
    counts = np.diff(starts, append=len(power))
    return np.add.reduceat(power, starts) / counts[:, None]


def _draw_factors(made: Any, panels: Any, picture: Picture) -> None:
    spectra, activations = panels
    if picture.factors is None:
        for panel in panels:
            panel.set_axis_off()
        spectra.text(0.5, 0.5, "the noise model has no factorisation", ha="center", transform=spectra.transAxes)
        return
    start, w, h = picture.factors
    begin, step = start * picture.hop / picture.rate, picture.hop / picture.rate
    part = "" if picture.segments == 1 else f", first of {picture.segments} segments"
    ends = (0.5, len(w) + 0.5)
    image = image_of(spectra, decibels(w).T, (*ends, 0, picture.rate / 2000), 10 * np.log10(w.max()), 50)
    spectra.set(title=f"noise dictionary W{part}", xlabel="atom", ylabel="frequency [kHz]")
    made.colorbar(image, ax=spectra, label="[dB re mean]")
    top = 10 * np.log10(max(h.max(), 1e-20))
    image = image_of(activations, decibels(thin(h)).T, (begin, begin + len(h) * step, *ends), top, 50)
    activations.set(title=f"noise activations H{part}", xlabel="time [s]", ylabel="atom")
    made.colorbar(image, ax=activations, label="[dB]")
