"""The command line. A subcommand is imported when it runs, so that ``vae-se --help`` is quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

from .. import __version__
from ..errors import UsageError, nearest
from .common import debug_option, run

#: Subcommand: its function, and its line in ``vae-se --help``, which is shown without an import.
COMMANDS: dict[str, tuple[str, str]] = {
    "enhance": ("vae_se.cli.enhance:enhance", "Remove the noise from recordings of speech."),
    "stream": ("vae_se.cli.stream:stream", "Remove the noise from a stream while it is running."),
    "compare": ("vae_se.cli.compare:compare", "Compare presets and methods on a recording, and listen."),
    "score": ("vae_se.cli.score:score", "Score enhanced files of any program against the clean ones."),
    "mix": ("vae_se.cli.mix:mix", "Mix clean speech and noise at given SNRs."),
    "train": ("vae_se.cli.train:train", "Train a speech prior on a folder of clean speech."),
    "prior": ("vae_se.cli.prior:prior", "List, show, verify, sample and plot speech priors."),
    "noise": ("vae_se.cli.noise:noise", "Learn a noise dictionary from recordings of noise."),
    "benchmark": ("vae_se.cli.benchmark:benchmark", "Mix, enhance and score according to a protocol."),
    "report": ("vae_se.cli.report:report", "Make tables from the results of a benchmark."),
    "export": ("vae_se.cli.export:export", "Write a filter without iterations as an ONNX file."),
    "info": ("vae_se.cli.info:info", "Show versions, devices and installed extras."),
}


class LazyGroup(click.Group):
    """A group that imports its subcommands when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command: Any = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name == module:
                raise UsageError(
                    f"vae-se {cmd_name} is not part of this installation", "update vae-se"
                ) from None
            raise UsageError(
                f"vae-se {cmd_name} needs {error.name}, which is not installed",
                "pip install 'vae-se[train,metrics,plot]'",
            ) from error
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UsageError(f"unknown command {args[0]!r}", nearest(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="vae-se COMMAND --help describes a command.",
)
@click.version_option(__version__, "-V", "--version", prog_name="vae-se", message="%(prog)s %(version)s")
@debug_option
def group() -> None:
    """Remove noise from speech with a model of clean speech.

    A variational autoencoder, trained on clean speech, is the prior of the speech; the model of the noise is
    learned from the recording itself. Start with: vae-se enhance noisy.wav
    """


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script: run a command and exit with its code."""
    run(group, argv)
