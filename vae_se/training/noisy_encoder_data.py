"""Speech and noise of a noisy encoder's training, from the folders that its job names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.corpus import Corpus
from ..data.waveforms import Waveforms, WeightedSpeech, load_waveforms
from ..errors import UsageError
from ..noisy_encoder.simulation.pool import Pool, open_pool
from ..priors import SpeechPrior
from .mixtures import Mixtures, MixtureSource, read_noise
from .noisy_encoder_job import NoisyEncoderJob, SpeechFolder
from .pool_mixtures import PoolMixtures

#: Part of a pool of noise that is held out for validation, where validation has no pool of its own.
_HELD_OUT = 0.05


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Mixtures for training and for validation.

    ``record``: the entries of config.json that describe them; ``key``: what a checkpoint depends on.
    """

    train: Mixtures
    valid: Mixtures
    record: dict[str, Any]
    key: tuple[Any, ...]


def open_data(job: NoisyEncoderJob, prior: SpeechPrior, say: Callable[[str], None]) -> TrainingData:
    """Open the speech and the noise of ``job``.

    Raises UsageError where there is too little speech or no noise, or where recorded noise and a pool are given
    together.
    """
    noise, noise_pool, seconds = job.noise, job.noise_pool, job.options.seconds
    _check(job)
    folders = job.folders()
    rate = prior.signal.rate
    corpora = [job.split(folder.path) for folder in folders]

    def load(corpus: Corpus) -> Waveforms:
        return load_waveforms(corpus, prior.signal, job.cache)

    train = [(load(part.train), folder.weight) for part, folder in zip(corpora, folders, strict=True)]
    if job.valid is not None:
        validation = [(load(corpora[0].valid), 1.0)]
    else:
        validation = [(load(part.valid), folder.weight) for part, folder in zip(corpora, folders, strict=True)]
    for speech, name in ((train, "training"), (validation, "validation")):
        _check_length(speech, seconds, rate, name)
    sources: tuple[Mixtures, Mixtures]
    record: dict[str, Any]
    if noise_pool is not None:
        pools = _pools(noise_pool, job.valid_pool, rate)
        pool_sources = [
            PoolMixtures(s, pool, prior, seconds) for s, pool in zip((train, validation), pools, strict=True)
        ]
        sources = pool_sources[0], pool_sources[1]
        record = {
            "noise": "pool",
            "pool": _describe_pool(pools[0]),
            "valid_pool": _describe_pool(pools[1]),
            "mixtures": dataclasses.asdict(pool_sources[0].settings),
        }
        what = f"from a pool of {len(pools[0])} simulated noises"
    else:
        recorded = read_noise(noise, rate) if noise is not None else []
        sources = (
            MixtureSource(train, prior, seconds, recorded=recorded),
            MixtureSource(validation, prior, seconds, recorded=recorded),
        )
        record = {"noise": "recorded" if recorded else "simulated"}
        what = f"from {len(recorded)} recordings" if recorded else "simulated"
    described = [
        _describe(folder, part.train, waves, rate)
        for folder, part, (waves, _) in zip(folders, corpora, train, strict=True)
    ]
    hours = sum(entry["hours"] for entry in described)
    say(f"{hours:.2f} h of training speech, noise {what}")
    record |= {"speech_hours": round(hours, 3), "speech": described}
    lengths = [len(waves) for waves, _ in (*train, *validation)], [folder.weight for folder in folders]
    return TrainingData(
        sources[0], sources[1], record, (lengths, str(noise), record.get("pool"), record.get("valid_pool"))
    )


def _check(job: NoisyEncoderJob) -> None:
    if job.noise is not None and job.noise_pool is not None:
        raise UsageError("--noise and --noise-pool", "noise is recorded or simulated: give one of them")
    if job.valid_pool is not None and job.noise_pool is None:
        raise UsageError("--valid-pool without --noise-pool", "the noise of both comes from pools, or of none")


def _check_length(speech: WeightedSpeech, seconds: float, rate: int, name: str) -> None:
    for waves, _ in speech:
        if len(waves) < seconds * rate:
            raise UsageError(
                f"a mixture needs {seconds} s of {name} speech, and there are {len(waves) / rate:.1f} s",
                "pass more speech",
            )


def _pools(train: Path, valid: Path | None, rate: int) -> tuple[Pool, Pool]:
    """Noise for training and for validation."""
    pools = [open_pool(folder) for folder in (train, valid) if folder is not None]
    for pool in pools:
        if pool.rate != rate:
            raise UsageError(f"a pool of noise at {pool.rate} Hz for a prior at {rate} Hz", "draw another pool")
    return pools[0].split(_HELD_OUT) if valid is None else (pools[0], pools[1])


def _describe_pool(pool: Pool) -> dict[str, Any]:
    seconds = round(pool.samples.shape[1] / pool.rate, 3)
    return {"seed": pool.seed, "items": len(pool), "seconds": seconds, "classes": pool.counts()}


def _describe(folder: SpeechFolder, corpus: Corpus, waves: Waveforms, rate: int) -> dict[str, Any]:
    """Name, weight and size of a folder of training speech; ``speakers`` is None where no folders tell them
    apart, so that every file counts as one."""
    speakers = len(corpus.speakers)
    return {
        "folder": str(folder.path),
        "weight": folder.weight,
        "hours": round(len(waves) / rate / 3600, 3),
        "files": len(waves.starts),
        "speakers": None if speakers == len(corpus.recordings) else speakers,
    }
