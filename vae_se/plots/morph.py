"""Plot of a morph: spectrograms of both recordings and of the interpolation, and their latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..signal_spec import SignalSpec
from .canvas import figure, image_of, save
from .latent import principal_axes


def draw(
    log_variances: list[np.ndarray],
    tracks: list[np.ndarray],
    names: list[str],
    signal: SignalSpec,
    path: str | Path,
) -> None:
    """Write the plot of three spectrograms of log-variances (N, F) and three sequences of latents (N, L).

    The latents are projected on the two main axes of all their frames.
    """
    made = figure(13, 8)
    panels = made.subplots(2, 2)
    top = max(10 / np.log(10) * values.max() for values in log_variances)
    for panel, name, values in zip(panels.flat, names, log_variances, strict=False):
        extent = (0, len(values) * signal.hop / signal.rate, 0, signal.rate / 2000)
        image = image_of(panel, 10 / np.log(10) * values.T, extent, top)
        panel.set(title=name, xlabel="time [s]", ylabel="frequency [kHz]")
    made.colorbar(image, ax=panels, label="variance [dB]", location="right", shrink=0.6)
    plane = panels[1, 1]
    centre, axes, share = principal_axes(np.concatenate(tracks))
    for name, track in zip(names, tracks, strict=True):
        plane.plot(*((track - centre) @ axes.T).T, ".-", markersize=3, linewidth=0.5, label=name)
    plane.set(
        title="latents",
        xlabel=f"axis 1 ({share[0]:.0%} of the variance)",
        ylabel=f"axis 2 ({share[1]:.0%})",
    )
    plane.legend()
    save(made, path)
