"""Training of a noisy encoder for a frozen prior: ``vae-se train --amortise``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..device import choose_device, mixed_precision
from ..noisy_encoder.store import AnyNoisyEncoder, prior_digest, save_noisy_encoder
from ..numerics import POWER_FLOOR
from ..priors import SpeechPrior, load_prior
from .checkpoint import Progress, prepare_output
from .loop import initialise
from .noisy_encoder_card import write_card
from .noisy_encoder_data import TrainingData, open_data
from .noisy_encoder_job import NoisyEncoderJob, SpeechFolder
from .noisy_encoder_loss import power_of
from .noisy_encoder_options import NoisyEncoderOptions
from .noisy_encoder_start import earlier_training, keep_all_but_noise_width, take_weights
from .noisy_encoder_trainer import NoisyEncoderTrainer
from .report import CURVES, HISTORY, Record, plot_noisy_encoder_curves, read_history, write_history

__all__ = ["NoisyEncoderJob", "NoisyEncoderOptions", "SpeechFolder", "train_noisy_encoder", "write_results"]

_STATISTICS_BATCHES = 8


def train_noisy_encoder(job: NoisyEncoderJob, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train and write a noisy encoder with its card; returns its config.json.

    A checkpoint in ``job.out`` that belongs to the same job is continued, also with another number of steps.
    The results are written at every validation. ``say`` is called with each line of progress. Raises
    subclasses of VaeSeError.
    """
    device = choose_device(job.device)
    prior = load_prior(job.prior, "cpu")
    digest = prior_digest(prior)
    checkpoint = prepare_output(job.out, job.overwrite, "is in use already")
    data = open_data(job, prior, say)
    options = job.options
    model = initialise(lambda: options.network(prior.signal.stft.bins, prior.latent_dim), job.seed)
    if options.start:
        take_weights(model, Path(options.start))
        if options.only_noise_width:
            keep_all_but_noise_width(model)
    else:
        model.set_statistics(*_statistics(data, job))
    identity = job.identity(options.identity(), digest, *data.key)
    model.to(device)
    prior.to(device)
    config: dict[str, Any] = {}

    def export(average: AnyNoisyEncoder, progress: Progress) -> None:
        record = job.record(progress.seconds)
        config.update(write_results(job, average, prior, data, record, progress.history))

    trainer = NoisyEncoderTrainer(
        model, prior, data, options, job.seed, checkpoint, identity, export, say, device, job.workers
    )
    with mixed_precision(device):
        progress = trainer.run()
    if not config:  # the training was killed between its last checkpoint and the results
        export(trainer.model.average, progress)
    plot_noisy_encoder_curves(job.out / CURVES, read_history(job.out / HISTORY))
    checkpoint.unlink(missing_ok=True)
    return config


def write_results(
    job: NoisyEncoderJob,
    model: AnyNoisyEncoder,
    prior: SpeechPrior,
    data: TrainingData,
    record: dict[str, Any],
    history: list[Record],
) -> dict[str, Any]:
    """Write weights (float16), config.json, history and card to ``job.out``; returns config.json.

    ``record``: seed, command, notes and duration of the training, see TrainingJob.record. The history and the
    duration include those of the training that this one started from.
    """
    if job.options.start:
        start, earlier = earlier_training(Path(job.options.start))
        history = [*earlier, *(_after(start, entry) for entry in history)]
        record = record | {"seconds": record["seconds"] + start["seconds"], "start": start}
    write_history(job.out / HISTORY, history)
    training = {"options": dataclasses.asdict(job.options), "last": history[-1], **data.record, **record}
    config = save_noisy_encoder(model, prior, job.out, training=training)
    write_card(job.out, config)
    return config


def _after(start: dict[str, Any], record: Record) -> Record:
    """``record`` with the steps and seconds of the training ``start`` before it added."""
    return record | {"step": record["step"] + start["steps"], "seconds": record["seconds"] + start["seconds"]}


def _statistics(data: TrainingData, job: NoisyEncoderJob) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (F,) of the mixtures' log-power."""
    logs = []
    for number in range(_STATISTICS_BATCHES):
        mixture = data.train.draw(job.seed, "statistics", number, job.options.batch)
        logs.append(torch.log(power_of(mixture.speech + mixture.noise) + POWER_FLOOR).flatten(0, 1))
    values = torch.cat(logs)
    return values.mean(0), values.std(0)
