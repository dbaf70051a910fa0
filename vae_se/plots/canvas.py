"""matplotlib figures without a display and without global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OutputError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_RANGE_DB = 70.0  # default range of an image


def figure(width: float, height: float) -> Figure:
    """A matplotlib Figure of the given size in inches, with the Agg canvas.

    Raises UsageError where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("pictures need matplotlib", "pip install 'vae-se[plot]'") from None
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Figure, path: str | Path, dpi: int = 120) -> None:
    """Write a figure in the format of the extension (png, pdf, svg).

    Raises OutputError where it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        made.savefig(temporary, dpi=dpi)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot write the picture {path}: {error}", "name a writable .png, .pdf or .svg"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def decibels(power: np.ndarray) -> np.ndarray:
    """10 log10 of powers, at least -200 dB.

    >>> decibels(np.array([1.0, 100.0, 0.0])).tolist()
    [0.0, 20.0, -200.0]
    """
    return 10 * np.log10(np.maximum(power, 1e-20))


def image_of(
    panel: Axes,
    values: np.ndarray,
    extent: tuple[float, float, float, float],
    top: float,
    span: float = _RANGE_DB,
) -> AxesImage:
    """Draw ``values`` (rows, columns) in dB, first row at the bottom; colours from top - span to top."""
    return panel.imshow(
        values,
        origin="lower",
        aspect="auto",
        extent=extent,
        vmin=top - span,
        vmax=top,
        cmap="magma",
        interpolation="nearest",
    )
