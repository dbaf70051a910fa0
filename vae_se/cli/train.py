"""``vae-se train``: a speech prior from a folder of clean speech."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .common import debug_option, say

#: Options that say how a prior is trained; a noisy encoder has no use for them.
_PRIOR_ONLY = ("recipe", "score_files", "tensorboard")


@click.command(short_help="Train a speech prior on a folder of clean speech.")
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where to write.")
@click.option("--prior", "--recipe", "recipe", default="default", show_default=True, metavar="NAME|FILE",
              help="Which prior: the name of a recipe (docs/priors.md), or a TOML file.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="Override a key of the recipe, e.g. --set train.epochs=5 (repeatable).")  # fmt: skip
@click.option("--amortise", metavar="PRIOR",
              help="Train a noisy encoder of noisy speech for this prior (see below).")  # fmt: skip
@click.option("--noise", type=click.Path(path_type=Path), metavar="DIR",
              help="With --amortise: recordings of noise, in place of simulated noise.")  # fmt: skip
@click.option("--print-config", is_flag=True, help="Print the recipe with its overrides as JSON, and stop.")
@click.option("--valid", type=click.Path(path_type=Path), metavar="DIR",
              help="Other clean speech to validate on. Default: hold speakers out.")  # fmt: skip
@click.option("--valid-fraction", default=0.1, show_default=True, help="Part of the speakers to hold out.")
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1),
              help="CPU threads. On a machine that is busy, 1 is faster than 2.")  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR",
              help="Where features are kept. Default: ~/.cache/vae-se/features.")  # fmt: skip
@click.option("--data-note", default="", metavar="TEXT|@FILE", help="What the data is, for the model card.")
@click.option("--licence", default="", metavar="TEXT|@FILE", help="The data's licence, for the model card.")
@click.option("--score-files", default=60, show_default=True, type=click.IntRange(0),
              help="Validation files to re-synthesise and score.")  # fmt: skip
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard as well.")
@click.option("--overwrite", is_flag=True, help="Replace a prior or an unfinished training in --out.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@debug_option
def train(
    data_dir: Path,
    out: Path,
    recipe: str,
    settings: tuple[str, ...],
    amortise: str | None,
    noise: Path | None,
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
    """Train a speech prior on the clean speech in DATA_DIR (searched recursively).

    Writes weights.safetensors, config.json, a model card (README.md), history.jsonl and curves.png to --out;
    `vae-se enhance --prior DIR` takes that folder. A training that was killed continues where it was when
    the same command is given again.

    Under torchrun several processes share the work (torchrun --nproc-per-node 2 -m vae_se train ...).

    With --amortise PRIOR the prior stays as it is, and a network learns to recognise its latents, and the
    noise, in noisy speech: mixtures of the speech in DATA_DIR with noise that is drawn from the model. In the
    folder PRIOR/noisy_encoder, enhancement with that prior starts from it. Its keys for --set are those that
    --print-config lists.
    """
    import json

    import torch

    from ..errors import UsageError

    if amortise is not None:
        context = click.get_current_context()
        given = [n for n in _PRIOR_ONLY if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} with --amortise", "it is for training a prior")
        _amortise(
            data_dir, amortise, settings, print_config, threads, quiet, out=out, valid=valid, noise=noise,
            valid_fraction=valid_fraction, seed=seed, device=device, cache=cache, overwrite=overwrite,
            data_note=_text(data_note), licence=_text(licence),
        )  # fmt: skip
        return
    if noise is not None:
        raise UsageError("--noise without --amortise", "a prior is trained on clean speech only")

    from ..training.distributed import leads, own_threads
    from ..training.prior import PriorJob, train_prior
    from ..training.recipes import load_recipe

    chosen = load_recipe(recipe, settings)
    if print_config:
        click.echo(json.dumps(chosen.as_dict(), indent=2))
        return
    torch.set_num_threads(own_threads(threads))
    job = PriorJob(
        data=data_dir, out=out, recipe=chosen, valid=valid, valid_fraction=valid_fraction, seed=seed,
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
    data_dir: Path, prior: str, settings: tuple[str, ...], print_config: bool, threads: int, quiet: bool,
    **job: Any,
) -> None:  # fmt: skip
    import dataclasses
    import json

    import torch

    from ..training.noisy_encoder import NoisyEncoderJob, NoisyEncoderOptions, train_noisy_encoder

    options = NoisyEncoderOptions.of(settings)
    if print_config:
        click.echo(json.dumps(dataclasses.asdict(options), indent=2))
        return
    torch.set_num_threads(threads)
    command = shlex.join(["vae-se", *sys.argv[1:]])
    train_noisy_encoder(
        NoisyEncoderJob(data=data_dir, prior=prior, options=options, command=command, **job),
        say=(lambda _: None) if quiet else say,
    )


def _text(value: str) -> str:
    """The value itself, or what is in the file after an @."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot read {value[1:]}: {error}") from None
