"""Training of a prior on frames or sequences of clean speech: objective, validation, best weights."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from ..data.features import FrameSet
from ..priors.dynamical import Dynamical
from ..priors.feedforward import FeedForward
from ..rng import torch_stream
from . import schedule
from .batches import Batch, Batches, FrameBatches, SequenceBatches
from .checkpoint import Progress
from .distributed import ALONE, World
from .elbo import elbo_terms, itakura_saito_from, loss
from .job import Identity
from .loop import Figures, StepSize, Trainer, adamw
from .recipes import TrainOptions

_VALID_CHUNK = 4096  # frames
_ACTIVE_NATS = 0.01  # a latent with a larger mean KL counts as active

#: Priors that can be trained.
TrainablePrior = FeedForward[Any] | Dynamical


class Listener(Protocol):
    """Receiver of a training's progress."""

    def step(self, progress: Progress, steps_per_epoch: int, running_loss: float) -> None:
        """Called after each step."""

    def epoch(self, record: dict[str, Any], best: bool) -> None:
        """Called after each epoch and its validation."""


class PriorTrainer(Trainer[Batch, TrainablePrior]):
    """Trains a prior by the evidence lower bound, for ``options.epochs`` or until patience is spent.

    ``save_weights`` is called after an epoch with the best validation loss so far. With several processes
    each one draws the random numbers for its part of a batch, so their number changes the weights, within the
    noise of these draws, but not the batches.
    """

    def __init__(
        self,
        model: TrainablePrior,
        train: FrameSet,
        valid: FrameSet,
        options: TrainOptions,
        seed: int,
        checkpoint: Path,
        identity: Identity,
        save_weights: Callable[[Progress], None],
        listener: Listener,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        self.train_batches = batches_of(train, options, seed, world)
        self.per_epoch = self.train_batches.per_epoch
        self.valid, self.options, self.seed = valid, options, seed
        self.save_weights, self.listener = save_weights, listener
        rate = functools.partial(
            schedule.learning_rate,
            total=options.epochs * self.per_epoch,
            top=options.learning_rate,
            warmup=options.warmup_steps,
            final=options.final_rate,
        )
        step_size = StepSize(rate, options.clip_norm)
        super().__init__(model, step_size, checkpoint, identity, device, options.checkpoint_steps, world)

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW; the output layer has a learning rate of its own."""
        options = self.options
        output = (self.model.output, options.output_rate)
        return adamw(self.model, options.learning_rate, options.weight_decay, output)

    def finished(self, progress: Progress) -> bool:
        """After ``epochs``, or ``patience`` epochs without a better validation loss."""
        waited = progress.epoch - 1 - progress.best_epoch
        return progress.epoch >= self.options.epochs or waited >= self.options.patience

    def batches(self, progress: Progress) -> Iterator[Batch]:
        """The rest of the epoch's shuffled batches."""
        return self.train_batches.epoch(progress.epoch, progress.step - progress.epoch * self.per_epoch)

    def backward(self, batch: Batch, step: int) -> torch.Tensor:
        """Gradient of the negative ELBO per frame.

        Returns, as sums over the frames of all processes, the objective, the number of frames, the
        reconstruction term and the KL term.
        """
        options = self.options
        rank = () if self.world.first else (self.world.rank,)
        generator = torch_stream(self.seed, "step", step, *rank, device=self.device)
        power, mask = _tensors(batch, self.device)
        if options.level_jitter_db > 0:  # of a frame, or of a whole sequence
            shape = (len(power), *[1] * (power.ndim - 1))
            decibels = torch.rand(shape, generator=generator, device=self.device) * 2 - 1
            power = power * torch.exp(decibels * (options.level_jitter_db * math.log(10) / 10))
        beta = schedule.beta(step, self.per_epoch, options.beta, options.beta_warmup_epochs)
        own_past = schedule.own_past(
            step, self.per_epoch, options.own_past, options.own_past_from, options.own_past_epochs
        )
        sums = torch.zeros(4, device=self.device)  # frames, reconstruction, kl, objective
        if len(power):
            terms = elbo_terms(self.model, power, generator, mask, own_past)
            count = len(terms.kl)
            objective = loss(terms, beta, options.free_bits) * count
            objective.backward()
            parts = (terms.reconstruction.sum(), terms.kl.sum(), objective)
            sums = torch.stack([torch.tensor(count).to(objective), *parts]).detach()
        return self.world.average_gradients(self.model.parameters(), sums).roll(1)

    def add_up(self, progress: Progress, figures: torch.Tensor, gradient_norm: float) -> None:
        """Sums over frames."""
        _, frames, reconstruction, kl = figures.tolist()
        for name, value in (
            ("frames", frames),
            ("reconstruction", reconstruction),
            ("kl", kl),
            ("loss", reconstruction + kl),
            ("gradient_norm", gradient_norm * frames),
            ("clipped", frames * float(gradient_norm > self.options.clip_norm)),
        ):
            progress.sums[name] = progress.sums.get(name, 0.0) + value

    def totals(self, progress: Progress, rate: float) -> Figures:
        """Means over the epoch's training frames."""
        sums = progress.sums
        means = {f"train_{k}": v / sums["frames"] for k, v in sums.items() if k != "frames"}
        return {"learning_rate": rate, **means}

    def validate(self) -> Figures:
        """See :func:`validate`."""
        return validate(self.model, self.valid, self.options, self.seed, self.device, self.world)

    def validation_loss(self, figures: Figures) -> float:
        """The negative ELBO per frame."""
        return figures["valid_loss"]

    def save_best(self, progress: Progress) -> None:
        """Save the weights of the best epoch so far."""
        self.save_weights(progress)

    def step_done(self, progress: Progress) -> None:
        """Report the running loss."""
        self.listener.step(progress, self.per_epoch, progress.sums["loss"] / progress.sums["frames"])

    def epoch_done(self, progress: Progress, best: bool) -> None:
        """Report the record."""
        self.listener.epoch(progress.history[-1], best)


@torch.no_grad()
def validate(
    model: TrainablePrior,
    frames: FrameSet,
    options: TrainOptions,
    seed: int,
    device: torch.device,
    world: World,
) -> Figures:
    """Means over frames at their own level: negative ELBO (valid_loss), its two terms, Itakura-Saito.

    ``valid_active`` counts the latents whose mean KL exceeds 0.01 nats, where the KL is a sum over latents. The
    random numbers do not depend on the epoch or on the number of processes.
    """
    model.eval()
    # Needed also in a process without a batch: there may be more processes than batches.
    total = torch.zeros(3 + _kl_dimensions(model, device), dtype=torch.float64, device=device)
    options = dataclasses.replace(options, batch_frames=_VALID_CHUNK)
    for number, batch in batches_of(frames, options, seed, world).in_order():
        generator = torch_stream(seed, "validation", number, device=device)
        power, mask = _tensors(batch, device)
        terms = elbo_terms(model, power, generator, mask, options.own_past)
        existing = power.flatten(0, -2) if mask is None else power[mask > 0]
        divergences = itakura_saito_from(terms.reconstruction, existing)
        sums = torch.stack([part.double().sum() for part in (terms.reconstruction, terms.kl, divergences)])
        total += torch.cat([sums, terms.kl_by_dimension.double() * len(terms.kl)])
    reconstruction, kl, divergence, *by_dimension = world.add(total).tolist()
    count = len(frames)
    return {
        "valid_loss": (reconstruction + kl) / count,
        "valid_reconstruction": reconstruction / count,
        "valid_kl": kl / count,
        "valid_itakura_saito": divergence / count,
        "valid_active": sum(value / count > _ACTIVE_NATS for value in by_dimension),
    }


def batches_of(frames: FrameSet, options: TrainOptions, seed: int, world: World) -> Batches:
    """Batches of single frames, or of sequences where ``options.sequence_frames`` is above 0."""
    if options.sequence_frames:
        return SequenceBatches(frames, options.sequence_frames, options.batch_frames, seed, world)
    return FrameBatches(frames, options.batch_frames, seed, world)


def _kl_dimensions(model: TrainablePrior, device: torch.device) -> int:
    """D, the number of terms in which the model reports its KL."""
    silence = torch.zeros(1, 1, model.signal.stft.bins, device=device)
    generator = torch_stream(0, "silence", device=device)
    return int(model.reconstruct(silence, generator).kl.shape[-1])


def _tensors(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    mask = None if batch.mask is None else torch.from_numpy(batch.mask).to(device)
    return torch.from_numpy(batch.power).to(device), mask
