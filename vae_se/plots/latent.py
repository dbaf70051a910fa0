"""Plot of a prior's latent space: speech encoded in it, and the spectra decoded along its main axes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..priors import SpeechPrior
from .canvas import figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More points than this overlap.
_MAX_POINTS = 6000
_COLOURS = 20  # of matplotlib's tab20
_STEPS = 9  # spectra along each axis, from -3 to 3 standard deviations


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Encoded frames of speech.

    ``mean`` (M, L): posterior means; ``energy`` (M,): frame power in dB relative to the active level;
    ``speaker`` (M,): index into ``speakers``.
    """

    mean: np.ndarray
    energy: np.ndarray
    speaker: np.ndarray
    speakers: list[str]


def encode(prior: SpeechPrior, powers: list[torch.Tensor], speakers: list[str]) -> Encoded:
    """Encode power spectrograms (N, F), one per utterance, with the names of their speakers."""
    names = sorted(set(speakers))
    means, energies, indices = [], [], []
    with torch.no_grad():
        for power, name in zip(powers, speakers, strict=True):
            means.append(prior.encode(power.unsqueeze(0)).mean[0].numpy())
            energies.append(10 * np.log10(power.mean(-1).numpy() + 1e-8))
            indices.append(np.full(power.shape[0], names.index(name)))
    return Encoded(np.concatenate(means), np.concatenate(energies), np.concatenate(indices), names)


def principal_axes(points: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal component analysis of points (M, L).

    Returns the centre (L,), the first ``count`` axes (count, L) of unit length, and their shares of the
    variance (count,). With L = count the axes are the coordinates themselves.

    >>> centre, axes, share = principal_axes(np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 0]]))
    >>> np.round(np.abs(axes)).tolist(), np.round(share, 2).tolist()
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.8, 0.2])
    """
    centre = points.mean(0)
    variance = points.var(0).sum() or 1.0
    if points.shape[1] == count:
        return np.zeros(count), np.eye(count), points.var(0) / variance
    _, scale, axes = np.linalg.svd(points - centre, full_matrices=False)
    return centre, axes[:count], scale[:count] ** 2 / len(points) / variance


def draw(prior: SpeechPrior, encoded: Encoded, path: str | Path, title: str = "") -> None:
    """Write the plot: latents by frame energy and by speaker, and spectra along the two main axes."""
    centre, axes, share = principal_axes(encoded.mean)
    chosen = np.random.default_rng(0).permutation(len(encoded.mean))[:_MAX_POINTS]
    flat = (encoded.mean[chosen] - centre) @ axes.T
    made = figure(13, 8)
    made.suptitle(title)
    panels = made.subplots(2, 2)
    by_energy, by_speaker = panels[0]
    points = by_energy.scatter(
        *flat.T, c=encoded.energy[chosen].clip(-60, 15), s=3, cmap="viridis", linewidths=0, rasterized=True
    )
    made.colorbar(points, ax=by_energy, label="frame power [dB re active level]")
    by_energy.set_title("posterior means, by energy")
    colours = encoded.speaker[chosen]
    by_speaker.scatter(
        *flat.T,
        c=colours % _COLOURS,
        s=3,
        cmap="tab20",
        vmin=0,
        vmax=_COLOURS - 1,
        linewidths=0,
        rasterized=True,
    )
    by_speaker.set_title(f"by speaker ({len(encoded.speakers)})")
    _name_speakers(by_speaker, encoded.speakers)
    direct = encoded.mean.shape[1] == 2
    for panel in (by_energy, by_speaker):
        for label, index in ((panel.set_xlabel, 0), (panel.set_ylabel, 1)):
            name = f"z{index + 1}" if direct else f"axis {index + 1}"
            label(f"{name} ({share[index]:.0%} of the variance)")
    deviation = np.sqrt(np.maximum(encoded.mean.var(0).sum() * share, 1e-12))
    for index, panel in enumerate(panels[1]):
        _draw_spectra(prior, panel, centre, axes[index] * deviation[index], index + 1)
    save(made, path)


def _name_speakers(panel: Axes, speakers: list[str]) -> None:
    """A legend of the speakers; with more of them than colours, a note that colours repeat."""
    import matplotlib

    if len(speakers) > _COLOURS:
        note = f"{len(speakers)} speakers share {_COLOURS} colours"
        panel.annotate(note, (0.02, 0.02), xycoords="axes fraction", fontsize=7)
        return
    for index, name in enumerate(speakers):
        panel.scatter([], [], s=20, color=matplotlib.colormaps["tab20"](index), label=name)
    panel.legend(title="speaker", fontsize=7, ncols=1 + len(speakers) // 11, loc="best")


def _draw_spectra(prior: SpeechPrior, panel: Axes, centre: np.ndarray, step: np.ndarray, number: int) -> None:
    """Decoded spectra along one axis, from -3 to 3 standard deviations of the speech."""
    positions = np.linspace(-3, 3, _STEPS)
    z = torch.tensor(centre + positions[:, None] * step, dtype=torch.float32)
    with torch.no_grad():
        log_variance = prior.decode(z[None, None])[0, 0].numpy()
    frequency = np.linspace(0, prior.signal.rate / 2000, log_variance.shape[1])
    shades = _colours(_STEPS)
    for position, spectrum, shade in zip(positions, log_variance, shades, strict=True):
        panel.plot(frequency, 10 / np.log(10) * spectrum, color=shade, linewidth=1, label=f"{position:+.1f}")
    panel.set(xlabel="frequency [kHz]", ylabel="variance [dB]", title=f"generated along axis {number}")
    panel.legend(title="std", fontsize=7, ncols=3)


def _colours(count: int) -> list[tuple[float, float, float, float]]:
    import matplotlib

    return [matplotlib.colormaps["coolwarm"](i / (count - 1)) for i in range(count)]
