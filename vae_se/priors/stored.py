"""Priors that write themselves to a folder, and load themselves from one."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch

from ..errors import UsageError
from .base import PRIORS, PriorModule
from .store import load_prior, save_prior


class StoredPrior(PriorModule):
    """Base of the neural priors, which are stored as :mod:`vae_se.priors.store` describes."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and weights.safetensors into ``folder``, which is made where it does not exist.

        :func:`~vae_se.priors.store.stored_tensors` says how weights are rounded. Raises UsageError for a class
        that is not among the registered architectures, since it could not be loaded again.
        """
        names = [name for name in PRIORS if PRIORS[name] is type(self)]
        if not names:
            raise UsageError(
                f"{type(self).__name__} is not a registered architecture", "decorate it: @PRIORS.add(NAME)"
            )
        save_prior(self, folder, names[0])

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path = "default", device: str | torch.device = "cpu"
    ) -> Self:
        """Load a prior of this class by shipped name or folder, see :func:`~vae_se.priors.store.load_prior`.

        Raises PriorError where it cannot be loaded, UsageError where it is a prior of another class.
        """
        prior = load_prior(name_or_folder, device)
        if not isinstance(prior, cls):
            raise UsageError(
                f"{name_or_folder} holds a prior of class {type(prior).__name__}, not {cls.__name__}",
                "vae_se.load_prior loads any prior",
            )
        return prior
