"""Common parts of the trainings of priors and noisy encoders: job, hold-out, identity, record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch

from ..data.corpus import Split, split
from ..priors.store import RENAMED_KEYWORDS

_OLD_NAMES = {new: old for old, new in RENAMED_KEYWORDS.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Output folder and notes of a training; subclasses add the speech.

    - ``out``: folder of the results;
    - ``valid``: folder of clean speech for validation. Without it, ``valid_fraction`` of the speakers is held
      out;
    - ``seed``: of all random numbers; ``device``: auto, cpu, cuda or cuda:i;
    - ``cache``: folder of the computed features (default: the user's cache folder);
    - ``overwrite``: replace the results, or an unfinished training, in ``out``;
    - ``data_note``, ``licence``, ``command``: text for the model card.
    """

    out: Path
    valid: Path | None = None
    valid_fraction: float = 0.1
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None
    overwrite: bool = False
    data_note: str = ""
    licence: str = ""
    command: str = ""

    def split(self, data: Path) -> Split:
        """The speech in the folder ``data`` for training, and that for validation."""
        return split(data, self.valid, self.valid_fraction, self.seed)

    def identity(self, settings: dict[str, Any], *data: Any) -> Identity:
        """Identity of the training with these settings on this data, for its checkpoint."""
        fraction = self.valid_fraction if self.valid is None else None
        former = _under_old_names(settings)
        return Identity(
            digest(settings, self.seed, *data, fraction),
            None if former == settings else digest(former, self.seed, *data, fraction),
        )

    def record(self, seconds: float) -> dict[str, Any]:
        """The entries of config.json under ``training`` that all trainings have."""
        return {
            "seed": self.seed,
            "command": self.command,
            "data_note": self.data_note,
            "licence": self.licence,
            "seconds": round(seconds, 1),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        }


@dataclasses.dataclass(frozen=True)
class Identity:
    """Digest of settings, seed and data. A checkpoint belongs to the training with the same digest.

    ``former``: the digest with the names of settings of release 0.1.0, where they differ.
    """

    current: str
    former: str | None = None


def digest(*parts: Any) -> str:
    """A short digest of JSON-able values.

    >>> digest({"epochs": 3}, 0) == digest({"epochs": 3}, 0) != digest({"epochs": 4}, 0)
    True
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _under_old_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the names of release 0.1.0, in the same order."""
    return {
        _OLD_NAMES.get(key, key): _under_old_names(value) if isinstance(value, dict) else value
        for key, value in settings.items()
    }
