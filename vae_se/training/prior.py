"""Training of a speech prior from a folder of clean speech: ``vae-se train``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..config import Config
from ..data.corpus import Corpus
from ..data.features import FrameSet, PowerSpectra, cache_key, load_features, log_power_statistics
from ..deprecated import renamed_attribute
from ..device import choose_device, mixed_precision
from ..errors import UsageError
from ..extras import missing, need
from ..metrics import METRICS
from ..numerics import POWER_FLOOR
from ..priors import PRIORS, load_prior, save_prior
from ..priors.store import read_config, store_thin_layers
from .card import write_card
from .checkpoint import CHECKPOINT, Progress, prepare_output
from .distributed import World, joined
from .job import TrainingJob
from .loop import initialise
from .prior_trainer import PriorTrainer, TrainablePrior
from .progress import FileProgress, TrainingProgress
from .recipes import Recipe
from .report import CURVES, HISTORY, TensorBoard, plot_curves, write_history
from .resynthesis import METRICS as SCORES
from .resynthesis import score_prior
from .start import earlier_training, keep_frames, set_first_values, start_from

_START_FRAMES = 4096  # training frames for the initial values, and for the parameters fitted after training


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorJob(TrainingJob):
    """Training of a prior.

    ``data``: folder of clean speech, searched recursively; ``recipe``: architecture, signal and training
    options; ``quiet``: no progress on stderr; ``tensorboard``: write events for TensorBoard; ``score_files``:
    number of validation files that are re-synthesised and scored after training (0: none).
    """

    data: Path
    recipe: Recipe
    quiet: bool = True
    tensorboard: bool = False
    score_files: int = 60


@dataclasses.dataclass(frozen=True)
class _Frames:
    """Frames for training and for validation.

    ``held_out``: the validation speakers come from the training folder; ``root``: folder of the validation
    files; ``key``: digest of all files and of the signal's parameters.
    """

    train: FrameSet
    valid: FrameSet
    held_out: bool
    root: Path
    key: str


def train_prior(job: PriorJob, warn: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train, score and write a prior; returns its config.json.

    A checkpoint in ``job.out`` that belongs to the same job is continued. ``warn`` is called with each
    message for the user. Under torchrun all processes train one model (distributed.py); their number may
    change when a training is continued. Raises subclasses of VaeSeError.
    """
    device = choose_device(job.device)
    if job.tensorboard:
        need("--tensorboard", "tensorboard", "train")
    with joined(device) as world, mixed_precision(device):
        if world.first:
            for line in _missing(job):
                warn(line)
            config = _train(job, device, world, warn)
            world.wait()
            return config
        quiet = dataclasses.replace(job, quiet=True, tensorboard=False)
        return _train(quiet, device, world, lambda _: None)


def _missing(job: PriorJob) -> Iterator[str]:
    """A line for each result that will be absent because a package is not installed."""
    if missing(["matplotlib"]):
        yield f"no {CURVES}: matplotlib is not installed (pip install 'vae-se[plot]')"
    for name in SCORES if job.score_files else ():
        package = METRICS[name].package
        if missing([package]):
            yield f"no {name} in the card: {package} is not installed (pip install 'vae-se[train]')"


def _train(job: PriorJob, device: torch.device, world: World, warn: Callable[[str], None]) -> dict[str, Any]:
    """The work of one process. The first reads the data before the others do, and writes the results."""
    if not world.first:
        world.wait()
    else:
        prepare_output(job.out, job.overwrite, "holds a prior already")
    frames = _load_frames(job, warn)
    if world.first:
        world.wait()
    recipe = job.recipe
    model = initialise(lambda: _untrained(recipe, frames.train), job.seed).to(device)

    def save(progress: Progress) -> None:
        save_prior(model, job.out, recipe.architecture, training=_record(job, frames, model, progress))

    tensorboard = TensorBoard(job.out / "tensorboard") if job.tensorboard else None
    listener = TrainingProgress(recipe.train.epochs, job.quiet, tensorboard)
    trainer = PriorTrainer(
        model, frames.train, frames.valid, recipe.train, job.seed, job.out / CHECKPOINT,
        job.identity(recipe.as_dict(), frames.key), save, listener, device, world,
    )  # fmt: skip
    try:
        progress = trainer.run()
    finally:
        listener.close()
    if not world.first:
        world.wait()  # until the first process has written the folder
        return read_config(job.out)
    return _finish(job, frames, progress, warn)


def _finish(job: PriorJob, frames: _Frames, progress: Progress, warn: Callable[[str], None]) -> dict[str, Any]:
    """History, curves, scores and model card of the best weights; returns config.json."""
    write_history(job.out / HISTORY, progress.history)
    plot_curves(job.out / CURVES, progress.history, progress.best_epoch)
    with torch.random.fork_rng(devices=[]):  # layers draw their initial values from the global generator
        best = cast(TrainablePrior, load_prior(job.out))
    best.finish(_some_frames(frames.train))
    scores = None
    if job.score_files:
        report = FileProgress(job.quiet, "scores")
        scores = score_prior(best, frames.root, frames.valid.utterances, job.score_files, job.seed, report)
        for name in [n for n, value in scores.items() if value is None and not missing([METRICS[n].package])]:
            warn(f"no {name} in the card: no file could be scored")
    record = _record(job, frames, best, progress) | {"complete": True}
    save_prior(best, job.out, job.recipe.architecture, training=record, scores=scores)
    store_thin_layers(job.out, Config().inference.decoder_error)
    config: dict[str, Any] = json.loads((job.out / "config.json").read_text())
    write_card(job.out, config)
    (job.out / CHECKPOINT).unlink(missing_ok=True)
    return config


def _untrained(recipe: Recipe, frames: FrameSet) -> TrainablePrior:
    """The model before training: with the statistics of the data, or with the layers of another prior."""
    model: TrainablePrior = PRIORS[recipe.architecture](**recipe.model, signal=recipe.signal)
    if recipe.train.start:
        start_from(model, load_prior(recipe.train.start))
        if recipe.train.only_dynamics:
            keep_frames(model)
        return model
    mean, std = log_power_statistics(frames, POWER_FLOOR)
    model.set_statistics(torch.from_numpy(mean).float(), torch.from_numpy(std).float())
    set_first_values(model, _some_frames(frames), recipe.train)
    return model


def _some_frames(frames: FrameSet) -> torch.Tensor:
    """Power (N, F) of frames spread evenly over the training data."""
    spread = np.linspace(0, len(frames) - 1, min(len(frames), _START_FRAMES)).astype(np.int64)
    return torch.from_numpy(frames.gather(spread))


def _load_frames(job: PriorJob, warn: Callable[[str], None]) -> _Frames:
    """Power spectra for training and validation. Raises UsageError where one of them is empty."""
    parts, signal = job.split(job.data), job.recipe.signal
    spectra, key = _features(parts.folder, job, warn), cache_key(parts.folder, signal)
    if parts.held_out:
        held = set(parts.valid.speakers)
        train = FrameSet.of(spectra, lambda u: u.speaker not in held)
        valid = FrameSet.of(spectra, lambda u: u.speaker in held)
    else:
        train, valid = FrameSet.of(spectra), FrameSet.of(_features(parts.valid, job, warn))
        key = f"{key}+{cache_key(parts.valid, signal)}"
    for name, frames in (("training", train), ("validation", valid)):
        if not len(frames):
            raise UsageError(f"no usable audio is left for {name}", "pass more speech, or --valid DIR")
    return _Frames(train, valid, parts.held_out, parts.valid.root, key)


def _features(corpus: Corpus, job: PriorJob, warn: Callable[[str], None]) -> PowerSpectra:
    """Power spectra of a corpus; a warning names the files that are left out."""
    spectra = load_features(corpus, job.recipe.signal, job.cache, FileProgress(job.quiet, "features"))
    if spectra.skipped:
        some = list(spectra.skipped.items())[:5]
        more = f" and {len(spectra.skipped) - 5} more" if len(spectra.skipped) > 5 else ""
        warn(
            f"{len(spectra.skipped)} of {len(corpus.recordings)} files left out: "
            + "; ".join(reason for _, reason in some) + more
        )  # fmt: skip
    return spectra


def _describe(frames: FrameSet, recipe: Recipe) -> dict[str, Any]:
    """Size of a set of frames, for the record."""
    return {
        "files": len(frames.utterances),
        "speakers": len({u.speaker for u in frames.utterances}),
        "hours": round(len(frames) * recipe.signal.hop / recipe.signal.rate / 3600, 3),
        "frames": len(frames),
    }


def _record(job: PriorJob, frames: _Frames, model: TrainablePrior, progress: Progress) -> dict[str, Any]:
    """The ``training`` entry of config.json."""
    return {
        "complete": False,
        "recipe": job.recipe.as_dict(),
        "data": {
            "train": _describe(frames.train, job.recipe),
            "valid": _describe(frames.valid, job.recipe),
            "held_out": frames.held_out,
            "key": frames.key,
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "latent_dim": model.latent_dim,
        "bins": frames.train.spectra.bins,
        "epochs_run": progress.epoch,
        "best": progress.history[progress.best_epoch],
        **job.record(progress.seconds),
        **({"start": earlier_training(job.recipe.train.start)} if job.recipe.train.start else {}),
    }


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"Job": "PriorJob"})
