"""Loop and validation of the training of a noisy encoder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder.network import wiener_at
from ..noisy_encoder.store import AnyNoisyEncoder
from ..priors import SpeechPrior
from ..rng import torch_stream
from . import schedule
from .averaged import Averaged
from .checkpoint import Progress
from .job import Identity
from .loop import Figures, StepSize, Trainer, adamw
from .mixtures import MixtureBatch, Mixtures
from .noisy_encoder_data import TrainingData
from .noisy_encoder_loss import FIGURES, loss_of, power_of
from .noisy_encoder_options import NoisyEncoderOptions
from .optimisers import Optimiser, muon_and_adamw

_VALID_BATCHES = 8
_CENTRAL_90 = 1.6449  # a standard normal variable is within +- this with probability 0.9


class NoisyEncoderTrainer(Trainer[MixtureBatch, Averaged[AnyNoisyEncoder]]):
    """Trains a noisy encoder for ``options.steps`` steps; the moving average after the last step is the result.

    An epoch is ``options.every`` steps. After each validation and its checkpoint ``export`` is called with the
    position and history, and ``say`` with a line.
    """

    def __init__(
        self,
        model: AnyNoisyEncoder,
        prior: SpeechPrior,
        data: TrainingData,
        options: NoisyEncoderOptions,
        seed: int,
        checkpoint: Path,
        identity: Identity,
        export: Callable[[AnyNoisyEncoder, Progress], None],
        say: Callable[[str], None],
        device: torch.device,
    ) -> None:
        self.prior, self.data, self.options, self.seed = prior, data, options, seed
        self.export, self.say = export, say
        self._sums = torch.zeros(len(FIGURES) + 1)
        rate = functools.partial(
            schedule.trapezoid,
            total=options.steps,
            top=options.learning_rate,
            warmup=options.warmup_steps,
            decay=options.decay,
        )
        step_size = StepSize(rate, options.clip_norm)
        super().__init__(Averaged(model), step_size, checkpoint, identity, device)

    def optimiser(self) -> Optimiser:
        """Muon and AdamW, or AdamW without weight decay."""
        model, rate = self.model.model, self.options.learning_rate
        return muon_and_adamw(model, rate) if self.options.optimiser == "muon" else adamw(model, rate)

    def finished(self, progress: Progress) -> bool:
        """After ``steps`` steps."""
        return progress.step >= self.options.steps

    def batches(self, progress: Progress) -> Iterator[MixtureBatch]:
        """Mixtures up to the next multiple of ``every`` steps, or the last step."""
        end = (progress.step // self.options.every + 1) * self.options.every
        for step in range(progress.step, min(end, self.options.steps)):
            yield self.data.train.draw(self.seed, "train", step, self.options.batch).to(self.device)

    def backward(self, batch: MixtureBatch, step: int) -> torch.Tensor:
        """Gradient of the objective; returns the objective and its terms, in the order of FIGURES."""
        power = power_of(batch.speech + batch.noise)
        encoding = self.model.model(power, torch.ones_like(power[..., 0]))
        generator = torch_stream(self.seed, "step", step, device=power.device)
        loss = loss_of(self.prior, encoding, batch, generator)
        loss.total(self.options.weights()).backward()
        return loss.figures(self.options.weights())

    def step_done(self, progress: Progress) -> None:
        """Update the moving average."""
        self.model.update(progress.step, self.options.average)

    def add_up(self, progress: Progress, figures: torch.Tensor, gradient_norm: float) -> None:
        """Sums over steps. They are not in the checkpoint: there is none within an epoch."""
        self._sums += torch.cat([figures.cpu(), torch.tensor([gradient_norm])])

    def totals(self, progress: Progress, rate: float) -> Figures:
        """Means over the epoch's steps."""
        steps = self.options.every - (-progress.step) % self.options.every
        means = [round(value, 4) for value in (self._sums / steps).tolist()]
        names = [f"train_{name}" for name in (*FIGURES, "norm")]
        self._sums.zero_()
        return {"learning_rate": rate, **dict(zip(names, means, strict=True))}

    def validate(self) -> Figures:
        """See :func:`validate`."""
        return validate(self.model.average, self.prior, self.data.valid, self.seed, self.options, self.device)

    def validation_loss(self, figures: Figures) -> float:
        """The objective."""
        return figures["valid_loss"]

    def epoch_done(self, progress: Progress, best: bool) -> None:
        """Export the moving average, and report the record in one line."""
        self.export(self.model.average, progress)
        record: dict[str, Any] = progress.history[-1]
        shown = ("valid_gain_db", "valid_distance", "valid_coverage", "valid_loss", "train_loss")
        figures = ", ".join(f"{name} {record[name]:.4g}" for name in shown)
        self.say(f"step {record['step']} of {self.options.steps}, {record['seconds']:.0f} s: {figures}")


@torch.no_grad()
def validate(
    model: AnyNoisyEncoder,
    prior: SpeechPrior,
    mixtures: Mixtures,
    seed: int,
    options: NoisyEncoderOptions,
    device: torch.device,
) -> Figures:
    """The terms of the loss on fixed ``mixtures``, the gain in SNR of the network alone, and its calibration.

    - ``valid_gain_db``: SNR after the Wiener filter v / (v + n), with the speech variance v at the mean of q
      and the network's noise variance n, less the SNR of the mixture; in dB.
    - ``valid_coverage``: how often the mean of the clean frame's posterior is in the central 90 % interval of
      the network's spread (of q where it has none), over all latents and frames.
    """
    sums, gains, inside = torch.zeros(len(FIGURES)), [], []
    for number in range(_VALID_BATCHES):
        batch = mixtures.draw(seed, "valid", number, options.batch).to(device)
        mixture = batch.speech + batch.noise
        power = power_of(mixture)
        encoding = model(power, torch.ones_like(power[..., 0]))
        loss = loss_of(prior, encoding, batch, torch_stream(seed, "valid", number, device=device))
        sums += loss.figures(options.weights()).cpu()
        error = wiener_at(prior, encoding, encoding.posterior.mean) * mixture - batch.speech
        gains.append(10 * torch.log10(_energy(batch.noise) / _energy(error)))
        wide = encoding.posterior if encoding.spread is None else encoding.spread
        departure = prior.encode(power_of(batch.speech)).mean - wide.mean
        scaled = departure * torch.exp(-0.5 * wide.log_variance)
        inside.append((scaled.abs() < _CENTRAL_90).float().mean())
    means = dict(zip(FIGURES, (sums / _VALID_BATCHES).tolist(), strict=True))
    means |= {"gain_db": float(torch.cat(gains).mean()), "coverage": float(torch.stack(inside).mean())}
    return {f"valid_{name}": round(value, 4) for name, value in means.items()}


def _energy(spectrum: torch.Tensor) -> torch.Tensor:
    return power_of(spectrum).sum((-2, -1)) + 1e-12
