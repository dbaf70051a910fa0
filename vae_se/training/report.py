"""What a training leaves behind: history as JSON lines, a picture of the curves, TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..storage.atomic import write_atomically

Record = dict[str, Any]


def write_history(path: Path, history: Sequence[Record]) -> None:
    """One JSON object an epoch."""
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in history).encode())


def plot_curves(path: Path, history: Sequence[Record], best_epoch: int) -> bool:
    """A PNG of the losses, of the KL term and of the learning rate; False where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    epochs = [record["epoch"] + 1 for record in history]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        panels[0].plot(epochs, [record[name] for record in history], marker=".", label=label)
    panels[0].set_title("negative ELBO per frame")
    # The first epoch is orders of magnitude off and would flatten the rest.
    tail = [record[n] for record in history[min(1, len(history) - 1) :] for n in ("train_loss", "valid_loss")]
    margin = 0.05 * (max(tail) - min(tail)) + 1e-6
    panels[0].set_ylim(min(tail) - margin, max(tail) + margin)
    panels[1].plot(epochs, [record["valid_itakura_saito"] for record in history], marker=".", color="C1")
    panels[1].set_title("Itakura-Saito per frame, validation")
    for name, label in (("train_kl", "training"), ("valid_kl", "validation")):
        panels[2].plot(epochs, [record[name] for record in history], marker=".", label=label)
    panels[2].set_title("KL per frame (nats)")
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.axvline(best_epoch + 1, color="0.7", linewidth=1, linestyle=":")
        panel.grid(alpha=0.3)
    panels[0].legend()
    panels[2].legend()
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=100)
    temporary.replace(path)
    return True


class TensorBoard:
    """Scalars for TensorBoard; constructing raises UsageError where it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("TensorBoard is not installed", "pip install 'vae-se[train]'") from None
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Record) -> None:
        """All numbers of one epoch, under train/ and valid/."""
        for name, value in record.items():
            part, _, rest = name.partition("_")
            tag = f"{part}/{rest}" if part in ("train", "valid") else name
            self._writer.add_scalar(tag, value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()
