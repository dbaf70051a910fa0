"""Training of a noisy encoder beside a frozen prior: what ``vae-se train --amortise`` does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import parse_value
from ..data.corpus import hold_out, scan
from ..data.waveforms import Waveforms, load_waveforms
from ..device import choose_device
from ..errors import PriorError, UsageError, nearest
from ..noisy_encoder import NoisyEncoder, NoisyEncoding
from ..noisy_encoder.store import prior_digest, save_noisy_encoder
from ..numerics import POWER_FLOOR
from ..priors import load_prior
from ..priors.frame import complex_gaussian_nll
from ..rng import torch_stream
from . import schedule
from .checkpoint import Progress, load_checkpoint, prepare_output, save_checkpoint
from .loop import initialise
from .mixtures import Batch, MixtureSource, read_noise
from .noisy_encoder_card import write_card
from .recipes import check_type

_VALID_BATCHES = 4
_STATISTICS_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class NoisyEncoderOptions:
    """How the network is built and trained: keys of ``--set``.

    steps, batch         number of steps, and mixtures a step
    seconds              length of a mixture
    width, hidden_size     of the network (noisy_encoder/network.py)
    causal               never look ahead
    learning_rate        of AdamW, at the top of the schedule of schedule.py
    warmup_steps         of that schedule
    clip_norm            bound on the norm of the gradient
    noise_weight         of the noise's log-likelihood beside the ELBO
    every                steps between two validations, each with a checkpoint
    """

    steps: int = 4000
    batch: int = 16
    seconds: float = 4.0
    width: int = 256
    hidden_size: int = 128
    causal: bool = False
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 200.0
    noise_weight: float = 1.0
    every: int = 200

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name not in ("causal", "warmup_steps", "noise_weight") and not value > 0:
                raise UsageError(f"{name} = {value}", "it must be above zero")

    @classmethod
    def of(cls, settings: Sequence[str]) -> NoisyEncoderOptions:
        """From ``key=value`` strings; UsageError for an unknown key, naming the nearest, or a wrong type."""
        hints, values = typing.get_type_hints(cls), {}
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise UsageError(f"--set {setting}", "expected key=value, such as steps=1000")
            if key not in hints:
                raise UsageError(f"unknown key {key!r}", nearest(key, hints))
            values[key] = parse_value(text.strip())
            check_type(key, values[key], hints[key])
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class NoisyEncoderJob:
    """What to train on, where to write, and what the card should say.

    ``noise``: a folder of recorded noise in place of the simulated.
    """

    data: Path
    prior: str
    out: Path
    options: NoisyEncoderOptions = NoisyEncoderOptions()
    valid: Path | None = None
    valid_fraction: float = 0.1
    noise: Path | None = None
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None
    overwrite: bool = False
    data_note: str = ""
    licence: str = ""
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Loss:
    """Means per frame in nats, less constants: ``speech`` -log p(s | z), ``kl``, ``noise`` -log p(b | n)."""

    speech: torch.Tensor
    kl: torch.Tensor
    noise: torch.Tensor

    def total(self, noise_weight: float) -> torch.Tensor:
        """What is minimised."""
        return self.speech + self.kl + noise_weight * self.noise


def loss_of(prior: Any, found: NoisyEncoding, batch: Batch, generator: torch.Generator) -> Loss:
    """Negative ELBO of the clean frames under the frozen decoder with q(z | noisy), and of the noise.

    E_q[-log p(s | z)] by one reparametrised draw; KL(q || p(z)) in closed form where p(z) = N(0, I), else by
    that draw; the noise is complex Gaussian under the network's variance. All three are sums over bins and
    means over frames.
    """
    z, log_q = found.posterior.rsample(1, generator)
    eta, log_prior = prior.generate(z)
    kl = found.posterior.kl() if prior.standard_normal else log_q - log_prior
    return Loss(
        prior.nll(_power(batch.speech), eta[:, 0]).mean(),
        kl.mean(),
        complex_gaussian_nll(_power(batch.noise), found.log_noise).mean(),
    )


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def train_noisy_encoder(job: NoisyEncoderJob, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train and write a noisy encoder with its card; returns its config.json.

    A checkpoint in ``job.out`` that belongs to the same job is continued: what is drawn in step k is a
    function of (seed, k). Raises subclasses of VaeSeError.
    """
    device = choose_device(job.device)
    prior: Any = load_prior(job.prior, "cpu")
    checkpoint = prepare_output(job.out, job.overwrite, "is in use already")
    train, valid = _sources(job, prior, say)
    options = job.options
    build = lambda: NoisyEncoder(  # noqa: E731
        prior.signal.stft.bins, prior.latent_dim, options.width, options.hidden_size, options.causal
    )
    model = initialise(build, job.seed)
    model.set_statistics(*_statistics(train, job))
    model.to(device)
    prior.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0)
    identity = _identity(job, prior, len(train.speech), len(valid.speech))
    progress = Progress()
    if checkpoint.is_file():
        progress = load_checkpoint(checkpoint, identity, model, optimiser, device)
    started = time.monotonic() - progress.seconds
    sums = torch.zeros(3)
    while progress.step < options.steps:
        batch = _to(train.draw(job.seed, "train", progress.step, options.batch), device)
        sums += _step(model, prior, batch, options, optimiser, progress.step, job.seed)
        progress.step += 1
        if progress.step % options.every == 0 or progress.step == options.steps:
            progress.seconds = time.monotonic() - started
            done = options.every - (-progress.step) % options.every
            record = {"step": progress.step, "seconds": round(progress.seconds, 1)}
            names = ("train_speech", "train_kl", "train_noise")
            record |= dict(zip(names, (sums / done).tolist(), strict=True))
            record |= validate(model, prior, valid, job.seed, options, device)
            progress.history.append(record)
            sums.zero_()
            save_checkpoint(checkpoint, identity, progress, model, optimiser)
            say(", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items()))
    config = save_noisy_encoder(model, prior, job.out, training=_record(job, train, progress))
    write_card(job.out, config)
    checkpoint.unlink(missing_ok=True)
    return config


def _step(
    model: NoisyEncoder, prior: Any, batch: Batch, options: NoisyEncoderOptions, optimiser: torch.optim.Optimizer,
    step: int, seed: int,
) -> torch.Tensor:  # fmt: skip
    rate = schedule.learning_rate(step, options.steps, options.learning_rate, options.warmup_steps, 0.01)
    for group in optimiser.param_groups:
        group["lr"] = rate
    mixture = _power(batch.speech + batch.noise)
    found = model(mixture, torch.ones_like(mixture[..., 0]))
    terms = loss_of(prior, found, batch, torch_stream(seed, "step", step, device=mixture.device))
    total = terms.total(options.noise_weight)
    optimiser.zero_grad()
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
    if not (torch.isfinite(total) and torch.isfinite(norm)):
        raise PriorError(f"the loss is not finite at step {step}", "lower learning_rate or clip_norm")
    optimiser.step()
    return torch.stack([terms.speech, terms.kl, terms.noise]).detach().cpu()


@torch.no_grad()
def validate(
    model: NoisyEncoder, prior: Any, valid: MixtureSource, seed: int, options: NoisyEncoderOptions,
    device: torch.device,
) -> dict[str, float]:  # fmt: skip
    """The three terms on fixed mixtures, and the gain in SNR (dB) of v / (v + n) at the mean of q."""
    sums, gains = torch.zeros(3), []
    model.eval()
    for number in range(_VALID_BATCHES):
        batch = _to(valid.draw(seed, "valid", number, options.batch), device)
        mixture = _power(batch.speech + batch.noise)
        found = model(mixture, torch.ones_like(mixture[..., 0]))
        terms = loss_of(prior, found, batch, torch_stream(seed, "valid", number, device=device))
        sums += torch.stack([terms.speech, terms.kl, terms.noise]).cpu()
        eta = prior.decode(found.posterior.mean.unsqueeze(1))[:, 0]
        wiener = torch.sigmoid(eta - found.log_noise)
        error = wiener * (batch.speech + batch.noise) - batch.speech
        gains.append(10 * torch.log10(_energy(batch.noise) / _energy(error)))
    model.train()
    means = (sums / _VALID_BATCHES).tolist()
    return {
        "valid_speech": means[0], "valid_kl": means[1], "valid_noise": means[2],
        "valid_gain_db": float(torch.cat(gains).mean()),
    }  # fmt: skip


def _energy(spectrum: torch.Tensor) -> torch.Tensor:
    return _power(spectrum).sum((-2, -1)) + 1e-12


def _to(batch: Batch, device: torch.device) -> Batch:
    return Batch(batch.speech.to(device), batch.noise.to(device))


def _sources(
    job: NoisyEncoderJob, prior: Any, say: Callable[[str], None]
) -> tuple[MixtureSource, MixtureSource]:
    corpus = scan(job.data)
    if job.valid is not None:
        parts = corpus, scan(job.valid)
    else:
        held = hold_out(corpus, job.valid_fraction, job.seed)
        kept = [r for r in corpus.recordings if r.speaker not in held]
        other = [r for r in corpus.recordings if r.speaker in held]
        parts = (
            dataclasses.replace(corpus, recordings=tuple(kept)),
            dataclasses.replace(corpus, recordings=tuple(other)),
        )
    waves: list[Waveforms] = [load_waveforms(part, prior.signal, job.cache) for part in parts]
    for wave, name in zip(waves, ("training", "validation"), strict=True):
        if len(wave) < job.options.seconds * prior.signal.rate:
            raise UsageError(f"{job.options.seconds} s of {name} speech are not there", "pass more speech")
    recorded = read_noise(job.noise, prior.signal.rate) if job.noise is not None else []
    say(f"{len(waves[0]) / prior.signal.rate / 3600:.2f} h of speech to train on, noise "
        + (f"from {len(recorded)} recordings" if recorded else "simulated"))  # fmt: skip
    train, valid = (MixtureSource(w, prior, job.options.seconds, recorded=recorded) for w in waves)
    return train, valid


def _statistics(source: MixtureSource, job: NoisyEncoderJob) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, bin by bin, of the mixtures' log-power."""
    logs = []
    for number in range(_STATISTICS_BATCHES):
        batch = source.draw(job.seed, "statistics", number, job.options.batch)
        logs.append(torch.log(_power(batch.speech + batch.noise) + POWER_FLOOR).flatten(0, 1))
    values = torch.cat(logs)
    return values.mean(0), values.std(0)


def _identity(job: NoisyEncoderJob, prior: Any, *lengths: int) -> str:
    parts = [
        dataclasses.asdict(job.options), job.seed, prior_digest(prior), lengths, str(job.noise),
        job.valid_fraction if job.valid is None else None,
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _record(job: NoisyEncoderJob, train: MixtureSource, progress: Progress) -> dict[str, Any]:
    return {
        "options": dataclasses.asdict(job.options),
        "noise": "recorded" if train.recorded else "simulated",
        "speech_hours": round(len(train.speech) / train.prior.signal.rate / 3600, 3),
        "data_note": job.data_note,
        "licence": job.licence,
        "seed": job.seed,
        "command": job.command,
        "history": progress.history,
        "seconds": round(progress.seconds, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }
