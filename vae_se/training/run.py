"""From a folder of clean speech to a folder with a prior: what ``vae-se train`` does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.corpus import Corpus, hold_out, scan
from ..data.features import FrameSet, PowerSpectra, cache_key, load_features, log_power_statistics
from ..device import choose_device, mixed_precision
from ..errors import UsageError
from ..numerics import POWER_FLOOR
from ..priors import PRIORS, load_prior, save_prior
from ..priors.store import read_config
from .card import write_card
from .checkpoint import CHECKPOINT, Progress, prepare_output
from .distributed import World, joined
from .loop import Trainer, initialise
from .progress import FileProgress, TrainingProgress
from .recipes import Recipe
from .report import TensorBoard, plot_curves, write_history
from .resynthesis import score_prior
from .start import set_first_values, take_layers

_START_FRAMES = 4096  # that the first values, and what is known only at the end, are fitted to


@dataclasses.dataclass(frozen=True)
class Job:
    """What to train on, where to write, and what the card should say.

    ``valid`` is a folder of other speech; without it ``valid_fraction`` of the speakers is held out.
    ``cache`` is where features are kept (default: the user's cache folder). ``score_files`` is how many
    validation files are re-synthesised and scored at the end; 0 leaves that out.
    """

    data: Path
    out: Path
    recipe: Recipe
    valid: Path | None = None
    valid_fraction: float = 0.1
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None
    overwrite: bool = False
    quiet: bool = True
    tensorboard: bool = False
    data_note: str = ""
    licence: str = ""
    command: str = ""
    score_files: int = 60


@dataclasses.dataclass(frozen=True)
class _Split:
    train: FrameSet
    valid: FrameSet
    valid_root: Path
    key: str
    held_out: bool


def train_prior(job: Job, warn: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Train, score and write a prior; returns its config.json.

    A checkpoint in ``job.out`` that belongs to the same job is continued. ``warn`` gets one line for
    whatever the user should know. Under torchrun all processes train the one model (distributed.py), and the
    number of them may be another when a run is continued. Raises subclasses of VaeSeError.
    """
    device = choose_device(job.device)
    with joined(device) as world, mixed_precision(device):
        if world.first:
            config = _train(job, device, world, warn)
            world.wait()
            return config
        quiet = dataclasses.replace(job, quiet=True, tensorboard=False)
        return _train(quiet, device, world, lambda _: None)


def _train(job: Job, device: torch.device, world: World, warn: Callable[[str], None]) -> dict[str, Any]:
    """What one process of those that train together does; the first reads the data before the others do."""
    if not world.first:
        world.wait()
    else:
        prepare_output(job.out, job.overwrite, "holds a prior already")
    split = _load_data(job, warn)
    if world.first:
        world.wait()
    recipe = job.recipe
    model = initialise(lambda: _untrained(recipe, split.train), job.seed).to(device)
    identity = _identity(job, split)

    def save(progress: Progress, **more: Any) -> None:
        save_prior(model, job.out, recipe.architecture, training=_record(job, split, model, progress), **more)

    tensorboard = TensorBoard(job.out / "tensorboard") if job.tensorboard else None
    listener = TrainingProgress(recipe.train.epochs, job.quiet, tensorboard)
    trainer = Trainer(
        model, split.train, split.valid, recipe.train, job.seed, job.out / CHECKPOINT, identity, save, listener,
        device, world,
    )  # fmt: skip
    try:
        progress = trainer.run()
    finally:
        listener.close()
    if not world.first:
        world.wait()  # for the first, which finishes the folder
        return read_config(job.out)
    write_history(job.out / "history.jsonl", progress.history)
    if not plot_curves(job.out / "curves.png", progress.history, progress.best_epoch):
        warn("no curves.png: matplotlib is not installed (pip install 'vae-se[plot]')")
    with torch.random.fork_rng(devices=[]):  # layers draw their first values from the global generator
        best: Any = load_prior(job.out)
    if hasattr(best, "finish"):
        best.finish(_some_frames(split.train))
    scores = None
    if job.score_files:
        report = FileProgress(job.quiet, "scores")
        scores = score_prior(best, split.valid_root, split.valid.utterances, job.score_files, job.seed, report)
        for name in [n for n, value in scores.items() if value is None]:
            warn(f"no {name} in the card: is its package installed? (pip install 'vae-se[train]')")
    record = _record(job, split, best, progress) | {"complete": True}
    save_prior(best, job.out, recipe.architecture, training=record, scores=scores)
    config: dict[str, Any] = json.loads((job.out / "config.json").read_text())
    write_card(job.out, job.out.resolve().name, config)
    (job.out / CHECKPOINT).unlink(missing_ok=True)
    return config


def _untrained(recipe: Recipe, frames: FrameSet) -> Any:
    """A model that knows the statistics of its training data and nothing else, or what it starts from."""
    model = PRIORS[recipe.architecture](**recipe.model, signal=recipe.signal)
    if recipe.train.start:
        take_layers(model, load_prior(recipe.train.start))
        return model
    mean, std = log_power_statistics(frames, POWER_FLOOR)
    model.set_statistics(torch.from_numpy(mean).float(), torch.from_numpy(std).float())
    set_first_values(model, _some_frames(frames), recipe.train)
    return model


def _some_frames(frames: FrameSet) -> torch.Tensor:
    """Power (N, F) of frames from all over the training data."""
    spread = np.linspace(0, len(frames) - 1, min(len(frames), _START_FRAMES)).astype(np.int64)
    return torch.from_numpy(frames.gather(spread))


def _load_data(job: Job, warn: Callable[[str], None]) -> _Split:
    corpus = scan(job.data)
    spectra = _features(corpus, job, warn)
    key = cache_key(corpus, job.recipe.signal)
    if job.valid is None:
        held = hold_out(corpus, job.valid_fraction, job.seed)
        train = FrameSet.of(spectra, lambda u: u.speaker not in held)
        valid = FrameSet.of(spectra, lambda u: u.speaker in held)
        root = corpus.root
    else:
        other = scan(job.valid)
        train, valid = FrameSet.of(spectra), FrameSet.of(_features(other, job, warn))
        root, key = other.root, f"{key}+{cache_key(other, job.recipe.signal)}"
    for part, frames in (("training", train), ("validation", valid)):
        if not len(frames):
            raise UsageError(f"no usable audio is left for {part}", "pass more speech, or --valid DIR")
    return _Split(train, valid, root, key, job.valid is None)


def _features(corpus: Corpus, job: Job, warn: Callable[[str], None]) -> PowerSpectra:
    spectra = load_features(corpus, job.recipe.signal, job.cache, FileProgress(job.quiet, "features"))
    if spectra.skipped:
        some = list(spectra.skipped.items())[:5]
        more = f" and {len(spectra.skipped) - 5} more" if len(spectra.skipped) > 5 else ""
        warn(
            f"{len(spectra.skipped)} of {len(corpus.recordings)} files left out: "
            + "; ".join(reason for _, reason in some) + more
        )  # fmt: skip
    return spectra


def _identity(job: Job, split: _Split) -> str:
    parts = [job.recipe.as_dict(), job.seed, split.key, job.valid_fraction if split.held_out else None]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _describe(frames: FrameSet, recipe: Recipe) -> dict[str, Any]:
    return {
        "files": len(frames.utterances),
        "speakers": len({u.speaker for u in frames.utterances}),
        "hours": round(len(frames) * recipe.signal.hop / recipe.signal.rate / 3600, 3),
        "frames": len(frames),
    }


def _record(job: Job, split: _Split, model: Any, progress: Progress) -> dict[str, Any]:
    """The ``training`` entry of config.json."""
    return {
        "complete": False,
        "recipe": job.recipe.as_dict(),
        "seed": job.seed,
        "command": job.command,
        "data_note": job.data_note,
        "licence": job.licence,
        "data": {
            "train": _describe(split.train, job.recipe),
            "valid": _describe(split.valid, job.recipe),
            "held_out": split.held_out,
            "key": split.key,
        },
        "parameters": sum(p.numel() for p in model.parameters()),
        "latent_dim": model.latent_dim,
        "bins": split.train.spectra.bins,
        "epochs_run": progress.epoch,
        "best": progress.history[progress.best_epoch],
        "seconds": round(progress.seconds, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }
