"""Training of a noisy encoder for a frozen prior: ``vae-se train --amortise``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..data.waveforms import load_waveforms
from ..device import choose_device
from ..errors import UsageError
from ..noisy_encoder import NoisyEncoder
from ..noisy_encoder.store import prior_digest, save_noisy_encoder
from ..numerics import POWER_FLOOR
from ..priors import SpeechPrior, load_prior
from .checkpoint import Progress, prepare_output
from .job import TrainingJob
from .loop import initialise
from .mixtures import MixtureSource, read_noise
from .noisy_encoder_card import write_card
from .noisy_encoder_options import NoisyEncoderOptions
from .noisy_encoder_trainer import Loss, NoisyEncoderTrainer, loss_of, power_of

__all__ = ["Loss", "NoisyEncoderJob", "NoisyEncoderOptions", "loss_of", "train_noisy_encoder"]

_STATISTICS_BATCHES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisyEncoderJob(TrainingJob):
    """Training of a noisy encoder.

    ``prior``: name or folder of its prior; ``noise``: a folder of recorded noise instead of simulated noise.
    """

    prior: str
    options: NoisyEncoderOptions = dataclasses.field(default_factory=NoisyEncoderOptions)
    noise: Path | None = None


def train_noisy_encoder(job: NoisyEncoderJob, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train and write a noisy encoder with its card; returns its config.json.

    A checkpoint in ``job.out`` that belongs to the same job is continued. ``say`` is called with each line of
    progress. Raises subclasses of VaeSeError.
    """
    device = choose_device(job.device)
    prior = load_prior(job.prior, "cpu")
    checkpoint = prepare_output(job.out, job.overwrite, "is in use already")
    train, valid = _sources(job, prior, say)
    options = job.options
    bins = prior.signal.stft.bins
    model = initialise(
        lambda: NoisyEncoder(bins, prior.latent_dim, options.width, options.hidden_size, options.causal),
        job.seed,
    )
    model.set_statistics(*_statistics(train, job))
    identity = job.identity(
        dataclasses.asdict(options), prior_digest(prior), (len(train.speech), len(valid.speech)), str(job.noise)
    )
    model.to(device)
    prior.to(device)
    progress = NoisyEncoderTrainer(
        model, prior, train, valid, options, job.seed, checkpoint, identity, say, device
    ).run()
    config = save_noisy_encoder(model, prior, job.out, training=_record(job, train, progress))
    write_card(job.out, config)
    checkpoint.unlink(missing_ok=True)
    return config


def _sources(
    job: NoisyEncoderJob, prior: SpeechPrior, say: Callable[[str], None]
) -> tuple[MixtureSource, MixtureSource]:
    """Mixtures for training and for validation. Raises UsageError where there is too little speech."""
    parts, rate = job.split(), prior.signal.rate
    waves = [load_waveforms(part, prior.signal, job.cache) for part in (parts.train, parts.valid)]
    for wave, name in zip(waves, ("training", "validation"), strict=True):
        if len(wave) < job.options.seconds * rate:
            raise UsageError(
                f"a mixture needs {job.options.seconds} s of {name} speech, and there are "
                f"{len(wave) / rate:.1f} s",
                "pass more speech",
            )
    recorded = read_noise(job.noise, rate) if job.noise is not None else []
    noise = f"from {len(recorded)} recordings" if recorded else "simulated"
    say(f"{len(waves[0]) / rate / 3600:.2f} h of training speech, noise {noise}")
    train, valid = (MixtureSource(w, prior, job.options.seconds, recorded=recorded) for w in waves)
    return train, valid


def _statistics(source: MixtureSource, job: NoisyEncoderJob) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (F,) of the mixtures' log-power."""
    logs = []
    for number in range(_STATISTICS_BATCHES):
        batch = source.draw(job.seed, "statistics", number, job.options.batch)
        logs.append(torch.log(power_of(batch.speech + batch.noise) + POWER_FLOOR).flatten(0, 1))
    values = torch.cat(logs)
    return values.mean(0), values.std(0)


def _record(job: NoisyEncoderJob, train: MixtureSource, progress: Progress) -> dict[str, Any]:
    """The ``training`` entry of config.json."""
    return {
        "options": dataclasses.asdict(job.options),
        "noise": "recorded" if train.recorded else "simulated",
        "speech_hours": round(len(train.speech) / train.prior.signal.rate / 3600, 3),
        "history": progress.history,
        **job.record(progress.seconds),
    }
