"""The training loop: seeded, resumable at any step. Subclasses define batches, objective and validation."""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from ..errors import PriorError
from ..rng import derive
from .checkpoint import Progress, load_checkpoint, save_checkpoint
from .distributed import ALONE, World
from .job import Identity
from .optimisers import Optimiser

#: The batch of a training step.
B = TypeVar("B")
M = TypeVar("M", bound=nn.Module)

Figures = dict[str, float]


@dataclasses.dataclass(frozen=True)
class StepSize:
    """``rate``: learning rate of step k, counted from 0 (schedule.py); ``clip_norm``: gradients of a larger
    norm are scaled down to it."""

    rate: Callable[[int], float]
    clip_norm: float


@dataclasses.dataclass
class Trainer(abc.ABC, Generic[B, M]):
    """Skeleton of a training; :meth:`run` trains ``model``.

    An epoch is the steps from one validation to the next. Each random number is a function of (seed, epoch) or
    (seed, step), so a training that was killed and continued gives the same weights as an uninterrupted one, on
    the same machine with the same number of threads.

    ``checkpoint``: its path; ``identity``: its identity; ``checkpoint_steps``: steps between two checkpoints
    within an epoch (None: only after each validation); ``world``: the processes that share the work, of which
    the first writes.
    """

    model: M
    step_size: StepSize
    checkpoint: Path
    identity: Identity
    device: torch.device
    checkpoint_steps: int | None = None
    world: World = ALONE

    @abc.abstractmethod
    def optimiser(self) -> Optimiser:
        """The optimiser. Its parameter groups have an entry ``scale``, a factor on the learning rate."""

    @abc.abstractmethod
    def finished(self, progress: Progress) -> bool:
        """Whether the training ends before the next epoch."""

    @abc.abstractmethod
    def batches(self, progress: Progress) -> Iterator[B]:
        """The batches from the current step to the end of the epoch."""

    @abc.abstractmethod
    def backward(self, batch: B, step: int) -> torch.Tensor:
        """Compute the gradient of the objective; returns detached figures of the step, the objective first."""

    @abc.abstractmethod
    def add_up(self, progress: Progress, figures: torch.Tensor, gradient_norm: float) -> None:
        """Add the result of :meth:`backward` to the totals of the epoch."""

    @abc.abstractmethod
    def totals(self, progress: Progress, rate: float) -> Figures:
        """Figures of the epoch's training for its record; ``rate`` is the last learning rate."""

    @abc.abstractmethod
    def validate(self) -> Figures:
        """Figures of the model on validation data."""

    @abc.abstractmethod
    def validation_loss(self, figures: Figures) -> float:
        """The figure by which epochs are compared, from the result of :meth:`validate`."""

    @abc.abstractmethod
    def epoch_done(self, progress: Progress, best: bool) -> None:
        """Called in all processes after each validation and its checkpoint."""

    def step_done(self, progress: Progress) -> None:
        """Called after each step; here nothing."""
        return

    def save_best(self, progress: Progress) -> None:
        """Save the weights of the best epoch so far; here nothing."""
        return

    def run(self) -> Progress:
        """Train to the end, from the checkpoint if there is one; returns the final position and history."""
        optimiser, progress = self.optimiser(), Progress()
        if self.checkpoint.is_file():
            progress = load_checkpoint(
                self.checkpoint, self.identity.current, self.model, optimiser, self.device, self.identity.former
            )
        started = time.monotonic() - progress.seconds
        while not self.finished(progress):
            self.model.train()
            for batch in self.batches(progress):
                self._step(batch, progress, optimiser)
                self.step_done(progress)
                due = self.checkpoint_steps is not None and progress.step % self.checkpoint_steps == 0
                if due and self.world.first:
                    progress.seconds = time.monotonic() - started
                    self._save(progress, optimiser)
            progress.seconds = time.monotonic() - started
            self._finish_epoch(progress, optimiser)
        return progress

    def _step(self, batch: B, progress: Progress, optimiser: Optimiser) -> None:
        """One step of the optimiser; PriorError where the objective or its gradient is not finite."""
        for group in optimiser.param_groups:
            group["lr"] = self.step_size.rate(progress.step) * group["scale"]
        optimiser.zero_grad()
        figures = self.backward(batch, progress.step)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.step_size.clip_norm)
        if not (torch.isfinite(figures[0]) and torch.isfinite(norm)):
            raise PriorError(
                f"the loss is not finite at step {progress.step}",
                "lower learning_rate or clip_norm; the weights written so far are kept",
            )
        optimiser.step()
        self.add_up(progress, figures, float(norm))
        progress.step += 1

    def _finish_epoch(self, progress: Progress, optimiser: Optimiser) -> None:
        """Validate, record, save."""
        group = optimiser.param_groups[0]
        record = {"epoch": progress.epoch, "step": progress.step, "seconds": round(progress.seconds, 1)}
        record |= self.totals(progress, group["lr"] / group["scale"])
        figures = self.validate()
        loss = self.validation_loss(figures)
        if not math.isfinite(loss):
            raise PriorError(
                f"the validation loss is not finite after step {progress.step}", "lower learning_rate"
            )
        best = loss < progress.best
        if best:
            progress.best, progress.best_epoch = loss, progress.epoch
        progress.history.append(record | figures)
        progress.epoch += 1
        progress.sums = {}
        if self.world.first:
            if best:
                # Before the checkpoint: a training killed in between repeats some steps and saves the same
                # again.
                self.save_best(progress)
            self._save(progress, optimiser)
        self.epoch_done(progress, best)

    def _save(self, progress: Progress, optimiser: Optimiser) -> None:
        save_checkpoint(self.checkpoint, self.identity.current, progress, self.model, optimiser)


def adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    scales: tuple[nn.Module, float] | None = None,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, Decoupled weight decay regularization, 2019), with decay on matrices only.

    A decayed output bias would pull the mean spectrum to 0 dB. ``scales``: a module, and the factor of its
    learning rate relative to the others; it is the entry ``scale`` of the parameter groups.
    """
    scaled, factor = (set(), 1.0) if scales is None else ({id(p) for p in scales[0].parameters()}, scales[1])
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        decay = weight_decay if parameter.ndim > 1 else 0.0
        scale = factor if id(parameter) in scaled else 1.0
        groups.setdefault((decay, scale), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": ps, "weight_decay": decay, "scale": scale} for (decay, scale), ps in groups.items()],
        lr=learning_rate,
    )


def initialise(build: Callable[[], M], seed: int) -> M:
    """The result of ``build()`` under a seeded global generator of torch, whose state is restored.

    Layers draw their initial values from that generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "parameters"))
        return build()
