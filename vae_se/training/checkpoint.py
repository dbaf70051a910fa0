"""Where a training was when it was killed: one file, replaced atomically."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import torch

from ..errors import OutputError, PriorError, UsageError
from ..storage.atomic import write_atomically

#: Name of a checkpoint in the folder that a training writes to.
CHECKPOINT = "checkpoint.pt"


@dataclasses.dataclass
class Progress:
    """Position and book-keeping of a training.

    There is no state of a random generator in it: what step k draws is a function of (seed, k), see
    :mod:`vae_se.training.loop`. ``step`` counts over all epochs; ``sums`` are running totals of the epoch
    under way; ``best`` is the lowest validation loss so far, of epoch ``best_epoch``.
    """

    epoch: int = 0
    step: int = 0
    best: float = float("inf")
    best_epoch: int = -1
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def prepare_output(out: Path, overwrite: bool, state: str) -> Path:
    """Make the folder ``out`` ready for a training; returns where its checkpoint is, or will be.

    Raises OutputError where it cannot be written to, and UsageError (the folder and ``state``) where something
    complete is in it that ``overwrite`` does not let go.
    """
    checkpoint = out / CHECKPOINT
    try:
        out.mkdir(parents=True, exist_ok=True)
        if overwrite:
            checkpoint.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error}", "choose another folder with --out") from None
    if (out / "config.json").exists() and not (checkpoint.exists() or overwrite):
        raise UsageError(f"{out} {state}", "pass --overwrite to replace it, or another --out")
    return checkpoint


def save_checkpoint(
    path: Path, identity: str, progress: Progress, model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write everything that continuing needs. ``identity`` names the recipe, data and seed."""
    buffer = io.BytesIO()
    torch.save(
        {
            "identity": identity,
            "progress": dataclasses.asdict(progress),
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
        buffer,
    )
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}", "check permissions and free space") from None


def load_checkpoint(
    path: Path,
    identity: str,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device | str = "cpu",
) -> Progress:
    """Restore model and optimiser in place; returns the position.

    Raises PriorError where the file is unreadable or belongs to another recipe, corpus or seed.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PriorError(f"cannot read {path}: {reason}", "start afresh with --overwrite") from None
    if not isinstance(saved, dict) or saved.get("identity") != identity:
        raise PriorError(
            f"{path} belongs to a training with other settings, data or seed",
            "repeat them to continue, or start afresh with --overwrite",
        )
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    return Progress(**saved["progress"])
