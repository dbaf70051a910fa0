"""Reports of a training: history as JSON lines, curves as SVG, events for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..storage.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Names of the files in the folder of a prior or a noisy encoder.
HISTORY, CURVES = "history.jsonl", "curves.svg"

Record = dict[str, Any]

# Text is not drawn as paths, for a small file; identifiers are fixed, so that a history always gives the same
# file.
_SVG: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vae-se",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def write_history(path: Path, history: Sequence[Record]) -> None:
    """Write one JSON object per epoch."""
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in history).encode())


def read_history(path: Path) -> list[Record]:
    """The records that :func:`write_history` wrote."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def plot_curves(path: Path, history: Sequence[Record], best_epoch: int) -> bool:
    """Write an SVG of the losses, the Itakura-Saito divergence and the KL term; False without matplotlib."""
    return _plot(path, lambda: _curves(history, best_epoch))


def plot_noisy_encoder_curves(path: Path, history: Sequence[Record]) -> bool:
    """Write an SVG of a noisy encoder's validation against the hours of training; False without matplotlib."""
    return _plot(path, lambda: _noisy_encoder_curves(history))


def _plot(path: Path, draw: Callable[[], Figure]) -> bool:
    """Write the figure that ``draw`` returns; False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    temporary = path.with_name(f".{path.name}.tmp")
    with matplotlib.rc_context(_SVG):
        draw().savefig(temporary, format="svg", metadata=_NO_METADATA)
    temporary.replace(path)
    return True


def _noisy_encoder_curves(history: Sequence[Record]) -> Figure:
    """A matplotlib Figure of three panels over the training time."""
    from matplotlib.figure import Figure

    hours = [record["seconds"] / 3600 for record in history]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = (
        ("gain_db", "gain in SNR, filter alone (dB)"),
        ("distance", "distance to clean speech"),
        ("coverage", "coverage of the 90 % interval"),
    )
    for panel, (name, title) in zip(figure.subplots(1, 3), panels, strict=True):
        panel.plot(hours, [record[f"valid_{name}"] for record in history])
        panel.set_title(title)
        panel.set_xlabel("hours of training")
        panel.locator_params(axis="both", nbins=5)
    return figure


def _curves(history: Sequence[Record], best_epoch: int) -> Figure:
    """A matplotlib Figure of three panels over the epochs."""
    from matplotlib.figure import Figure

    epochs = [record["epoch"] + 1 for record in history]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        panels[0].plot(epochs, [record[name] for record in history], label=label)
    panels[0].set_title("negative ELBO per frame")
    # Without the first epoch, whose training loss is orders of magnitude larger.
    tail = [record[n] for record in history[min(1, len(history) - 1) :] for n in ("train_loss", "valid_loss")]
    margin = 0.05 * (max(tail) - min(tail)) + 1e-6
    panels[0].set_ylim(min(tail) - margin, max(tail) + margin)
    panels[1].plot(epochs, [record["valid_itakura_saito"] for record in history], color="C1")
    panels[1].set_title("Itakura-Saito per frame, validation")
    for name, label in (("train_kl", "training"), ("valid_kl", "validation")):
        panels[2].plot(epochs, [record[name] for record in history], label=label)
    panels[2].set_title("KL per frame (nats)")
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.locator_params(axis="both", nbins=4)
        panel.axvline(best_epoch + 1, color="0.7", linewidth=1, linestyle=":")
    panels[0].legend(frameon=False)
    return figure


class TensorBoard:
    """Scalars for TensorBoard; the constructor raises UsageError where it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("TensorBoard is not installed", "pip install 'vae-se[train]'") from None
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Record) -> None:
        """Write the figures of one epoch, under train/ and valid/."""
        for name, value in record.items():
            part, _, rest = name.partition("_")
            tag = f"{part}/{rest}" if part in ("train", "valid") else name
            self._writer.add_scalar(tag, value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
