"""The training loop: seeded, resumable at any step, best weights kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from ..data.features import FrameSet
from ..errors import PriorError
from ..rng import derive, torch_stream
from . import schedule
from .batches import Batch, Batches, FrameBatches, SequenceBatches
from .checkpoint import Progress, load_checkpoint, save_checkpoint
from .distributed import ALONE, World
from .elbo import elbo_terms, itakura_saito_from, loss
from .recipes import TrainOptions

_VALID_CHUNK = 4096  # frames


class Listener(Protocol):
    """What wants to know how the training goes."""

    def step(self, progress: Progress, steps_per_epoch: int, running_loss: float) -> None:
        """After every step."""

    def epoch(self, record: dict[str, Any], best: bool) -> None:
        """After every epoch and its validation."""


@dataclasses.dataclass
class Trainer:
    """Trains ``model`` on frames, or on sequences of them; call :meth:`run`.

    ``save_best`` is called after an epoch whose validation ELBO is the best so far. Every random number
    is a function of (seed, epoch) or (seed, step), hence a run that was killed and continued gives the
    same weights as an unbroken one (on the same machine and thread count). ``world``: the processes that share
    the work; each draws its own numbers for its part of a batch, so that their number changes the weights, but
    not the batches, and what is learnt within the noise of these draws. Only the first one writes.
    """

    model: Any
    train: FrameSet
    valid: FrameSet
    options: TrainOptions
    seed: int
    checkpoint: Path
    identity: str
    save_best: Callable[[Progress], None]
    listener: Listener
    device: torch.device
    world: World = ALONE

    def run(self) -> Progress:
        """Train to the last epoch or until patience is spent; returns the final position and history."""
        options = self.options
        optimiser = self._optimiser()
        progress = Progress()
        if self.checkpoint.is_file():
            progress = load_checkpoint(self.checkpoint, self.identity, self.model, optimiser, self.device)
        batches = batches_of(self.train, options, self.seed, self.world)
        per_epoch = batches.per_epoch
        started = time.monotonic() - progress.seconds
        while progress.epoch < options.epochs and not self._out_of_patience(progress):
            self.model.train()
            for batch in batches.epoch(progress.epoch, progress.step - progress.epoch * per_epoch):
                self._step(batch, progress, per_epoch, optimiser)
                self.listener.step(progress, per_epoch, progress.sums["loss"] / progress.sums["frames"])
                if self.world.first and progress.step % options.checkpoint_steps == 0:
                    progress.seconds = time.monotonic() - started
                    self._save(progress, optimiser)
            progress.seconds = time.monotonic() - started
            self._finish_epoch(progress, optimiser)
        return progress

    def _optimiser(self) -> torch.optim.Optimizer:
        # Decay on matrices only: a decayed output bias would pull the mean spectrum to 0 dB.
        output = {id(p) for p in getattr(self.model, "output", torch.nn.Identity()).parameters()}
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for parameter in self.model.parameters():
            decay = self.options.weight_decay if parameter.ndim > 1 else 0.0
            scale = self.options.output_rate if id(parameter) in output else 1.0
            groups.setdefault((decay, scale), []).append(parameter)
        return torch.optim.AdamW(
            [{"params": ps, "weight_decay": decay, "scale": scale} for (decay, scale), ps in groups.items()],
            lr=self.options.learning_rate,
        )

    def _out_of_patience(self, progress: Progress) -> bool:
        return progress.epoch - 1 - progress.best_epoch >= self.options.patience

    def _step(self, batch: Batch, progress: Progress, per_epoch: int, optimiser: torch.optim.Optimizer) -> None:
        options, step = self.options, progress.step
        mine = () if self.world.first else (self.world.rank,)
        generator = torch_stream(self.seed, "step", step, *mine, device=self.device)
        power, mask = _tensors(batch, self.device)
        if options.level_jitter_db > 0:  # of a frame, or of a sequence as a whole
            shape = (len(power), *[1] * (power.ndim - 1))
            decibels = torch.rand(shape, generator=generator, device=self.device) * 2 - 1
            power = power * torch.exp(decibels * (options.level_jitter_db * math.log(10) / 10))
        beta = schedule.beta(step, per_epoch, options.beta, options.beta_warmup_epochs)
        rate = schedule.learning_rate(
            step, options.epochs * per_epoch, options.learning_rate, options.warmup_steps, options.final_rate
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        own_past = schedule.own_past(
            step, per_epoch, options.own_past, options.own_past_from, options.own_past_epochs
        )
        optimiser.zero_grad()
        added = torch.zeros(4, device=self.device)  # frames, reconstruction, kl, objective
        if len(power):
            terms = elbo_terms(self.model, power, generator, mask, own_past)
            count = len(terms.kl)
            objective = loss(terms, beta, options.free_bits) * count
            objective.backward()
            sums = (terms.reconstruction.sum(), terms.kl.sum(), objective)
            added = torch.stack([torch.tensor(count).to(objective), *sums]).detach()
        added = self.world.average_gradients(self.model.parameters(), added)
        frames, reconstruction, kl, objective_sum = added.tolist()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        if not (math.isfinite(objective_sum) and torch.isfinite(norm)):
            raise PriorError(
                f"the loss is not finite at step {step} (epoch {progress.epoch})",
                "lower train.learning_rate or train.clip_norm; the best weights so far are kept",
            )
        optimiser.step()
        for name, value in (
            ("frames", frames),
            ("reconstruction", reconstruction),
            ("kl", kl),
            ("loss", reconstruction + kl),
            ("gradient_norm", float(norm) * frames),
            ("clipped", frames * float(norm > options.clip_norm)),
        ):
            progress.sums[name] = progress.sums.get(name, 0.0) + value
        progress.step += 1

    def _finish_epoch(self, progress: Progress, optimiser: torch.optim.Optimizer) -> None:
        sums = progress.sums
        means = {f"train_{k}": v / sums["frames"] for k, v in sums.items() if k != "frames"}
        valid = validate(self.model, self.valid, self.options, self.seed, self.device, self.world)
        if not math.isfinite(valid["valid_loss"]):
            raise PriorError(
                f"the validation loss is not finite after epoch {progress.epoch}", "lower train.learning_rate"
            )
        best = valid["valid_loss"] < progress.best
        if best:
            progress.best, progress.best_epoch = valid["valid_loss"], progress.epoch
        group = optimiser.param_groups[0]
        record = {
            "epoch": progress.epoch, "step": progress.step, "seconds": round(progress.seconds, 1),
            "learning_rate": group["lr"] / group["scale"], **means, **valid,
        }  # fmt: skip
        progress.history.append(record)
        progress.epoch += 1
        progress.sums = {}
        if self.world.first:
            if best:
                # Before the checkpoint: a run killed in between repeats some steps and saves the same again.
                self.save_best(progress)
            self._save(progress, optimiser)
        self.listener.epoch(record, best)

    def _save(self, progress: Progress, optimiser: torch.optim.Optimizer) -> None:
        save_checkpoint(self.checkpoint, self.identity, progress, self.model, optimiser)


@torch.no_grad()
def validate(
    model: Any, frames: FrameSet, options: TrainOptions, seed: int, device: torch.device, world: World
) -> dict[str, float]:
    """Means over frames at their own level: valid_loss (negative ELBO), its terms, Itakura-Saito.

    ``valid_active`` counts the latent dimensions whose mean KL exceeds 0.01 nats (where the KL falls apart
    by dimension). The same draws are used whatever the epoch and the number of processes.
    """
    model.eval()
    # Also of a process that has no batch: there may be more processes than batches.
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
        "valid_active": sum(value / count > 0.01 for value in by_dimension),
    }


def batches_of(frames: FrameSet, options: TrainOptions, seed: int, world: World) -> Batches:
    """Frames, or sequences where the options ask for them."""
    if options.sequence_frames:
        return SequenceBatches(frames, options.sequence_frames, options.batch_frames, seed, world)
    return FrameBatches(frames, options.batch_frames, seed, world)


def _kl_dimensions(model: Any, device: torch.device) -> int:
    """In how many parts the model reports its KL."""
    silence = torch.zeros(1, 1, model.signal.stft.bins, device=device)
    generator = torch_stream(0, "silence", device=device)
    return int(model.reconstruct(silence, generator).kl.shape[-1])


def _tensors(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    mask = None if batch.mask is None else torch.from_numpy(batch.mask).to(device)
    return torch.from_numpy(batch.power).to(device), mask


def initialise(build: Callable[[], Any], seed: int) -> Any:
    """``build()`` with the global generator of torch seeded, and restored afterwards: layers draw from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "parameters"))
        return build()
