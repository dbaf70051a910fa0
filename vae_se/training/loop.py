"""The training loop: seeded, resumable at any step, best weights kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..data.features import FrameSet
from ..errors import PriorError
from ..rng import derive, numpy_stream, torch_stream
from . import schedule
from .checkpoint import Progress, load_checkpoint, save_checkpoint
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
    """Trains ``model`` on frames; call :meth:`run`.

    ``save_best`` is called after an epoch whose validation ELBO is the best so far. Every random number
    is a function of (seed, epoch) or (seed, step), hence a run that was killed and continued gives the
    same weights as an unbroken one (on the same machine and thread count).
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

    def run(self) -> Progress:
        """Train to the last epoch or until patience is spent; returns the final position and history."""
        options = self.options
        optimiser = self._optimiser()
        progress = Progress()
        if self.checkpoint.is_file():
            progress = load_checkpoint(self.checkpoint, self.identity, self.model, optimiser, self.device)
        per_epoch = math.ceil(len(self.train) / options.batch_frames)
        started = time.monotonic() - progress.seconds
        while progress.epoch < options.epochs and not self._out_of_patience(progress):
            self.model.train()
            for frames in self._batches(progress.epoch, progress.step - progress.epoch * per_epoch):
                self._step(frames, progress, per_epoch, optimiser)
                self.listener.step(progress, per_epoch, progress.sums["loss"] / progress.sums["frames"])
                if progress.step % options.checkpoint_steps == 0:
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

    def _batches(self, epoch: int, first: int) -> Iterator[np.ndarray]:
        """Batches of frames of this epoch's global shuffle, from batch number ``first`` on."""
        order = numpy_stream(self.seed, "shuffle", epoch).permutation(len(self.train))
        size = self.options.batch_frames
        for start in range(first * size, len(order), size):
            yield self.train.gather(np.sort(order[start : start + size]))

    def _step(
        self, frames: np.ndarray, progress: Progress, per_epoch: int, optimiser: torch.optim.Optimizer
    ) -> None:
        options, step = self.options, progress.step
        generator = torch_stream(self.seed, "step", step, device=self.device)
        power = torch.from_numpy(frames).to(self.device)
        if options.level_jitter_db > 0:
            decibels = torch.rand(len(power), 1, generator=generator, device=self.device) * 2 - 1
            power = power * torch.exp(decibels * (options.level_jitter_db * math.log(10) / 10))
        beta = schedule.beta(step, per_epoch, options.beta, options.beta_warmup_epochs)
        rate = schedule.learning_rate(
            step, options.epochs * per_epoch, options.learning_rate, options.warmup_steps, options.final_rate
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        terms = elbo_terms(self.model, power, generator)
        objective = loss(terms, beta, options.free_bits)
        optimiser.zero_grad()
        objective.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        if not (torch.isfinite(objective) and torch.isfinite(norm)):
            raise PriorError(
                f"the loss is not finite at step {step} (epoch {progress.epoch})",
                "lower train.learning_rate or train.clip_norm; the best weights so far are kept",
            )
        optimiser.step()
        sums, count = progress.sums, len(power)
        reconstruction, kl = float(terms.reconstruction.detach().sum()), float(terms.kl.detach().sum())
        for name, value in (
            ("frames", count),
            ("reconstruction", reconstruction),
            ("kl", kl),
            ("loss", reconstruction + kl),
            ("gradient_norm", float(norm) * count),
            ("clipped", count * float(norm > options.clip_norm)),
        ):
            sums[name] = sums.get(name, 0.0) + value
        progress.step += 1

    def _finish_epoch(self, progress: Progress, optimiser: torch.optim.Optimizer) -> None:
        sums = progress.sums
        means = {f"train_{k}": v / sums["frames"] for k, v in sums.items() if k != "frames"}
        valid = validate(self.model, self.valid, self.seed, self.device)
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
        if best:
            # Before the checkpoint: a run killed in between repeats some steps and saves the same again.
            self.save_best(progress)
        self._save(progress, optimiser)
        self.listener.epoch(record, best)

    def _save(self, progress: Progress, optimiser: torch.optim.Optimizer) -> None:
        save_checkpoint(self.checkpoint, self.identity, progress, self.model, optimiser)


@torch.no_grad()
def validate(model: Any, frames: FrameSet, seed: int, device: torch.device) -> dict[str, float]:
    """Means over frames at their own level: valid_loss (negative ELBO), its terms, Itakura-Saito.

    ``valid_active`` counts the latent dimensions whose mean KL exceeds 0.01 nepers. The same draws are used
    whatever the epoch, so that epochs differ by their weights only.
    """
    model.eval()
    generator = torch_stream(seed, "validation", device=device)
    reconstruction = kl = divergence = 0.0
    by_dimension = torch.zeros(model.latent_dim, device=device)
    for start in range(0, len(frames), _VALID_CHUNK):
        power = torch.from_numpy(frames.gather(slice(start, start + _VALID_CHUNK))).to(device)
        terms = elbo_terms(model, power, generator)
        reconstruction += float(terms.reconstruction.double().sum())
        kl += float(terms.kl.double().sum())
        divergence += float(itakura_saito_from(terms.reconstruction, power).double().sum())
        by_dimension += terms.kl_by_dimension * len(power)
    count = len(frames)
    return {
        "valid_loss": (reconstruction + kl) / count,
        "valid_reconstruction": reconstruction / count,
        "valid_kl": kl / count,
        "valid_itakura_saito": divergence / count,
        "valid_active": int((by_dimension / count > 0.01).sum()),
    }


def initialise(build: Callable[[], Any], seed: int) -> Any:
    """``build()`` with the global generator of torch seeded, and restored afterwards: layers draw from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "parameters"))
        return build()
