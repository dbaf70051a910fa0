"""``vae-se train``: train a speech prior, or a noisy encoder for one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .common import debug_option, say

#: Options for the training of a prior only.
_PRIOR_ONLY = ("recipe", "score_files", "tensorboard")


#: Options for the training of a noisy encoder only.
_AMORTISE_ONLY = ("noise", "noise_pool", "valid_pool", "workers")


@click.command(short_help="Train a speech prior on a folder of clean speech.")
@click.argument("speech", nargs=-1, required=True, metavar="SPEECH...")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results."
)
@click.option(
    "--prior",
    "--recipe",
    "recipe",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Name of a recipe (docs/priors.md), or a TOML file.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the recipe, e.g. --set train.epochs=5 (repeatable).",
)
@click.option("--amortise", metavar="PRIOR", help="Train a noisy encoder for this prior (see below).")
@click.option(
    "--noise",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --amortise: folder of noise recordings, in place of simulated noise.",
)
@click.option(
    "--noise-pool",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --amortise: folder of simulated noise, drawn beforehand by vae-se noise pool.",
)
@click.option(
    "--valid-pool",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Another one for validation. Default: hold out one noise of twenty.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="With --amortise: processes that draw mixtures ahead, for a GPU that would wait for them. Default: 0.",
)
@click.option("--print-config", is_flag=True, help="Print the recipe with its overrides as JSON, and exit.")
@click.option(
    "--valid",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of clean speech for validation. Default: hold out speakers.",
)
@click.option("--valid-fraction", default=0.1, show_default=True, help="Fraction of the speakers to hold out.")
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]")
@click.option(
    "--threads",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="CPU threads. On a busy machine 1 is faster than 2.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the computed features. Default: ~/.cache/vae-se/features.",
)
@click.option(
    "--data-note", default="", metavar="TEXT|@FILE", help="Description of the data for the model card."
)
@click.option("--licence", default="", metavar="TEXT|@FILE", help="Licence of the data for the model card.")
@click.option(
    "--score-files",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Number of validation files to re-synthesise and score.",
)
@click.option("--tensorboard", is_flag=True, help="Also write events for TensorBoard.")
@click.option("--overwrite", is_flag=True, help="Replace the results or an unfinished training in --out.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@debug_option
def train(
    speech: tuple[str, ...],
    out: Path,
    recipe: str,
    settings: tuple[str, ...],
    amortise: str | None,
    noise: Path | None,
    noise_pool: Path | None,
    valid_pool: Path | None,
    workers: int | None,
    print_config: bool,
    valid: Path | None,
    valid_fraction: float,
    seed: int,
    device: str,
    threads: int,
    cache: Path | None,
    data_note: str,
    licence: str,
    score_files: int,
    tensorboard: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Train a speech prior on the clean speech in the folder SPEECH (searched recursively).

    Writes weights.safetensors, config.json, a model card (README.md), history.jsonl and curves.svg to --out;
    use the prior by `vae-se enhance --prior DIR`. To continue an interrupted training, repeat the command.

    Under torchrun several processes share the work (torchrun --nproc-per-node 2 -m vae_se train ...).

    With --amortise PRIOR the prior does not change. A network learns to estimate its latents and the noise
    variance from noisy speech: mixtures of the speech in SPEECH... with simulated noise. Several folders may be
    given, each as FOLDER or FOLDER=WEIGHT, where WEIGHT is the relative frequency of its speech. If the network
    is in the folder PRIOR/noisy_encoder, enhancement with that prior uses it. --print-config lists its keys for
    --set.
    """
    import json

    import torch

    from ..errors import UsageError

    if amortise is not None:
        context = click.get_current_context()
        given = [n for n in _PRIOR_ONLY if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
        if given:
            raise UsageError(
                f"--{given[0].replace('_', '-')} with --amortise", "it is for the training of a prior"
            )
        _amortise(
            speech, amortise, settings, print_config, threads, quiet, out=out, valid=valid, noise=noise,
            noise_pool=noise_pool, valid_pool=valid_pool, workers=workers or 0,
            valid_fraction=valid_fraction, seed=seed, device=device, cache=cache, overwrite=overwrite,
            data_note=_text(data_note), licence=_text(licence),
        )  # fmt: skip
        return
    context = click.get_current_context()
    for name in _AMORTISE_ONLY:
        if context.params[name] is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} without --amortise", "a prior is trained on clean speech only"
            )
    if len(speech) > 1:
        raise UsageError(f"{len(speech)} folders for a prior", "put the speech into one folder")

    from ..training.distributed import leads, own_threads
    from ..training.prior import PriorJob, train_prior
    from ..training.recipes import load_recipe

    chosen = load_recipe(recipe, settings)
    if print_config:
        click.echo(json.dumps(chosen.as_dict(), indent=2))
        return
    torch.set_num_threads(own_threads(threads))
    job = PriorJob(
        data=Path(speech[0]), out=out, recipe=chosen, valid=valid, valid_fraction=valid_fraction, seed=seed,
        device=device, cache=cache, overwrite=overwrite, quiet=quiet, tensorboard=tensorboard,
        data_note=_text(data_note), licence=_text(licence), score_files=score_files,
        command=shlex.join(["vae-se", *sys.argv[1:]]),
    )  # fmt: skip
    config = train_prior(job, warn=lambda line: say(f"warning: {line}"))
    if leads() and not quiet:
        best = config["training"]["best"]
        say(
            f"{out}: validation negative ELBO {best['valid_loss']:.1f} "
            f"(reconstruction {best['valid_reconstruction']:.1f}, KL {best['valid_kl']:.1f})"
        )


def _amortise(
    speech: tuple[str, ...], prior: str, settings: tuple[str, ...], print_config: bool, threads: int,
    quiet: bool, **job: Any,
) -> None:  # fmt: skip
    import dataclasses
    import json

    import torch

    from ..training.noisy_encoder import (
        NoisyEncoderJob,
        NoisyEncoderOptions,
        SpeechFolder,
        train_noisy_encoder,
    )

    options = NoisyEncoderOptions.of(settings)
    if print_config:
        click.echo(json.dumps(dataclasses.asdict(options), indent=2))
        if not quiet:
            for key, meaning in options.meanings():
                say(f"{key}: {meaning}")
        return
    torch.set_num_threads(threads)
    command, folders = shlex.join(["vae-se", *sys.argv[1:]]), [SpeechFolder.of(text) for text in speech]
    train_noisy_encoder(
        NoisyEncoderJob(data=folders, prior=prior, options=options, command=command, **job),
        say=(lambda _: None) if quiet else say,
    )


def _text(value: str) -> str:
    """``value`` itself, or the content of the file after an @."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot read {value[1:]}: {error}") from None
