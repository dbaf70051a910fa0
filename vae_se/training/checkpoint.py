"""The state of an unfinished training: one file, replaced atomically."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import torch

from ..deprecated import warn
from ..errors import OutputError, PriorError, UsageError
from ..storage.atomic import write_atomically
from .optimisers import Optimiser

#: Name of the checkpoint in the output folder of a training.
CHECKPOINT = "checkpoint.pt"


@dataclasses.dataclass
class Progress:
    """Position and history of a training.

    It holds no state of a random generator: the random numbers of step k are a function of (seed, k), see
    :mod:`vae_se.training.loop`. ``epoch``: number of validations done; ``step``: number of steps in all epochs;
    ``sums``: running totals of the current epoch; ``best``: lowest validation loss so far, of epoch
    ``best_epoch``; ``history``: one record per validation.
    """

    epoch: int = 0
    step: int = 0
    best: float = float("inf")
    best_epoch: int = -1
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def prepare_output(out: Path, overwrite: bool, state: str) -> Path:
    """Make the folder ``out`` ready for a training; returns the path of its checkpoint.

    Raises OutputError where ``out`` cannot be written, and UsageError (with the folder and ``state`` as its
    message) where it holds finished results and ``overwrite`` is False.
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
    path: Path, identity: str, progress: Progress, model: torch.nn.Module, optimiser: Optimiser
) -> None:
    """Write the state of a training; ``identity`` is the digest of its settings, data and seed."""
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
    optimiser: Optimiser,
    device: torch.device | str = "cpu",
    former_identity: str | None = None,
) -> Progress:
    """Restore model and optimiser in place; returns the position.

    ``former_identity``: the identity with the names of settings of release 0.1.0, accepted with a warning.
    Raises PriorError where the file is unreadable or belongs to other settings, data or seed.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch's unpickler raises many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PriorError(f"cannot read {path}: {reason}", "start afresh with --overwrite") from None
    found = saved.get("identity") if isinstance(saved, dict) else None
    if found is None or found not in (identity, former_identity):
        raise PriorError(
            f"{path} belongs to a training with other settings, data or seed",
            "repeat them to continue, or start afresh with --overwrite",
        )
    if found != identity:
        warn(f"the setting 'memory' in {path}", "'hidden_size'")
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    return Progress(**saved["progress"])
