"""Loop and validation of the training of a noisy encoder."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder.network import NoisyEncoding, wiener_at
from ..noisy_encoder.store import AnyNoisyEncoder
from ..priors import SpeechPrior
from ..rng import torch_stream
from . import schedule
from .averaged import Averaged
from .checkpoint import Progress
from .drawn_ahead import draw_ahead
from .em_variances import EMVariances
from .job import Identity
from .loop import Figures, StepSize, Trainer, adamw
from .mixtures import MixtureBatch, Mixtures, MixtureWaveforms
from .noise_width import noise_coverage
from .noisy_encoder_data import TrainingData
from .noisy_encoder_loss import FIGURES, loss_of, power_of
from .noisy_encoder_options import NoisyEncoderOptions
from .optimisers import Optimiser, muon_and_adamw

_VALID_BATCHES = 8
_CENTRAL_90 = 1.6449  # a standard normal variable is within +- this with probability 0.9


class NoisyEncoderTrainer(Trainer[MixtureBatch, Averaged[AnyNoisyEncoder]]):
    """Trains a noisy encoder for ``options.steps`` steps; the moving average after the last step is the result.

    ``workers``: processes that draw mixtures ahead.
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
        workers: int = 0,
    ) -> None:
        self.prior, self.data, self.options, self.seed = prior, data, options, seed
        self.workers = workers
        self._drawn: Iterator[MixtureWaveforms] | None = None
        self.export, self.say = export, say
        self.em = EMVariances(prior) if options.noise_aware else None
        self._names = figure_names(options)
        self._sums, self._counts = torch.zeros(2, len(self._names) + 1)
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
        every, steps, stft = self.options.every, self.options.steps, self.prior.signal.stft
        if self._drawn is None:
            rest, size = range(progress.step, steps), self.options.batch
            self._drawn = draw_ahead(self.data.train, self.seed, rest, size, self.workers, self.device)
        end = (progress.step // every + 1) * every
        for waveforms in itertools.islice(self._drawn, min(end, steps) - progress.step):
            yield waveforms.spectra(stft, self.device)

    def backward(self, batch: MixtureBatch, step: int) -> torch.Tensor:
        """Gradient of the objective; returns the objective and its terms, see :func:`figure_names`.

        The figures of a second answer are NaN on steps that ask once.
        """
        power, weights = power_of(batch.speech + batch.noise), self.options.weights()
        mask = torch.ones_like(power[..., 0])
        encoding = self.model.model(power, mask)
        generator = torch_stream(self.seed, "step", step, device=power.device)
        loss = loss_of(self.prior, encoding, batch, generator)
        loss.total(weights).backward()
        if self.em is None:
            return loss.figures(weights)
        if step % self.options.again_every:
            figures = loss.figures(weights)
            return torch.cat([figures, torch.full_like(figures, torch.nan)])
        given = self.em.draw(encoding, batch, self.seed, "step", step)
        again = loss_of(self.prior, self.model.model(power, mask, given=given), batch, generator)
        again.total(weights).backward()
        return torch.cat([loss.figures(weights), again.figures(weights)])

    def step_done(self, progress: Progress) -> None:
        """Update the moving average."""
        self.model.update(progress.step, self.options.average)

    def add_up(self, progress: Progress, figures: torch.Tensor, gradient_norm: float) -> None:
        """Sums over steps. They are not in the checkpoint: there is none within an epoch."""
        values = torch.cat([figures.cpu(), torch.tensor([gradient_norm])])
        self._sums += values.nan_to_num()
        self._counts += values.isfinite()

    def totals(self, progress: Progress, rate: float) -> Figures:
        """Means over the epoch's steps."""
        means = [round(value, 4) for value in (self._sums / self._counts.clamp(min=1)).tolist()]
        names = [f"train_{name}" for name in (*self._names, "norm")]
        self._sums.zero_()
        self._counts.zero_()
        return {"learning_rate": rate, **dict(zip(names, means, strict=True))}

    def validate(self) -> Figures:
        """See :func:`validate`."""
        return validate(
            self.model.average, self.prior, self.data.valid, self.seed, self.options, self.device, self.em
        )

    def validation_loss(self, figures: Figures) -> float:
        """The objective, of both answers where the network is asked twice."""
        return figures["valid_loss"] + figures.get("valid_again_loss", 0.0)

    def epoch_done(self, progress: Progress, best: bool) -> None:
        """Export the moving average, and report the record in one line."""
        self.export(self.model.average, progress)
        record: dict[str, Any] = progress.history[-1]
        shown = (
            "valid_gain_db", "valid_distance", "valid_coverage", "valid_loss", "train_loss",
            "valid_again_gain_db", "valid_again_distance", "valid_again_loss",
        )  # fmt: skip
        figures = ", ".join(f"{name} {record[name]:.5g}" for name in shown if name in record)
        self.say(f"step {record['step']} of {self.options.steps}, {record['seconds']:.0f} s: {figures}")


def figure_names(options: NoisyEncoderOptions) -> list[str]:
    """FIGURES, and the same for the second answer of a noise-aware network."""
    return [*FIGURES, *(f"again_{name}" for name in FIGURES if options.noise_aware)]


@torch.no_grad()
def validate(
    model: AnyNoisyEncoder,
    prior: SpeechPrior,
    mixtures: Mixtures,
    seed: int,
    options: NoisyEncoderOptions,
    device: torch.device,
    em: EMVariances | None = None,
) -> Figures:
    """The terms of the loss on fixed ``mixtures``, the gain in SNR of the network alone, and its calibration.

    - ``valid_gain_db``: SNR after the Wiener filter v / (v + n), with the speech variance v at the mean of q
      and the network's noise variance n, less the SNR of the mixture; in dB.
    - ``valid_coverage``: how often the mean of the clean frame's posterior is in the central 90 % interval of
      the network's spread (of q where it has none), over all latents and frames.
    - ``valid_noise_coverage``: how often the power of the noise is between the 5 % and the 95 % quantile under
      the network's log-normal variance, where it has one.
    - The same with ``valid_again``: when the network is asked again, with the variances that ``em`` draws.
    """
    answers: dict[str, list[torch.Tensor]] = {}
    for number in range(_VALID_BATCHES):
        batch = mixtures.waveforms(seed, "valid", number, options.batch).spectra(prior.signal.stft, device)
        power = power_of(batch.speech + batch.noise)
        mask = torch.ones_like(power[..., 0])
        encodings = {"valid": model(power, mask)}
        if em is not None:
            given = em.draw(encodings["valid"], batch, seed, "valid", number)
            encodings["valid_again"] = model(power, mask, given=given)
        for name, encoding in encodings.items():
            generator = torch_stream(seed, "valid", number, device=device)
            terms = loss_of(prior, encoding, batch, generator).figures(options.weights()).cpu()
            more = torch.cat([_gain_and_coverage(prior, encoding, batch), _of_noise(encoding, batch)])
            found = torch.cat([terms, more.cpu()])
            answers.setdefault(name, []).append(found)
    figures = (*FIGURES, "gain_db", "coverage", *(["noise_coverage"] if options.noise_width else []))
    means = {name: torch.stack(rows).mean(0).tolist() for name, rows in answers.items()}
    return {
        f"{name}_{figure}": round(value, 4)
        for name, values in means.items()
        for figure, value in zip(figures, values, strict=True)
    }


def _gain_and_coverage(prior: SpeechPrior, encoding: NoisyEncoding, batch: MixtureBatch) -> torch.Tensor:
    """See :func:`validate`; (2,)."""
    mixture = batch.speech + batch.noise
    error = wiener_at(prior, encoding, encoding.posterior.mean) * mixture - batch.speech
    gain = (10 * torch.log10(_energy(batch.noise) / _energy(error))).mean()
    wide = encoding.posterior if encoding.spread is None else encoding.spread
    departure = prior.encode(power_of(batch.speech)).mean - wide.mean
    inside = (departure * torch.exp(-0.5 * wide.log_variance)).abs() < _CENTRAL_90
    return torch.stack([gain, inside.float().mean()])


def _of_noise(encoding: NoisyEncoding, batch: MixtureBatch) -> torch.Tensor:
    """The coverage of the noise, (1,); (0,) where the network has no width of it."""
    if encoding.noise_std is None:
        return encoding.log_noise.new_zeros(0)
    return noise_coverage(power_of(batch.noise), encoding.log_noise, encoding.noise_std).unsqueeze(0)


def _energy(spectrum: torch.Tensor) -> torch.Tensor:
    return power_of(spectrum).sum((-2, -1)) + 1e-12
