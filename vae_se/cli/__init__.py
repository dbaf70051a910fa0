"""The command line. Subcommands are imported when they are run, so that ``vae-se --help`` is quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

from .. import __version__
from ..errors import UsageError, nearest
from .common import debug_option, run

#: Subcommand: where it lives, and the line that ``vae-se --help`` shows without importing it.
COMMANDS: dict[str, tuple[str, str]] = {
    "enhance": ("vae_se.cli.enhance:enhance", "Noisy recordings in, clean speech out."),
    "stream": ("vae_se.cli.stream:stream", "Sound that is still going on, enhanced as it comes."),
    "train": ("vae_se.cli.train:train", "Train a speech prior on a folder of clean speech."),
    "prior": ("vae_se.cli.prior:prior", "List, show, verify, hear and see speech priors."),
    "noise": ("vae_se.cli.noise:noise", "Learn what a noise is like from recordings of it."),
    "benchmark": ("vae_se.cli.benchmark:benchmark", "Mix, enhance and score, as a protocol says."),
    "report": ("vae_se.cli.report:report", "Tables from the results of a benchmark."),
    "info": ("vae_se.cli.info:info", "Versions, devices and what is installed."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are import strings."""

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
    epilog="vae-se COMMAND --help explains a command.",
)
@click.version_option(__version__, "-V", "--version", prog_name="vae-se", message="%(prog)s %(version)s")
@debug_option
def group() -> None:
    """Remove noise from speech with a model of clean speech alone.

    A variational autoencoder knows what clean speech is like; what the noise is like is learned from the
    recording itself. Start with: vae-se enhance noisy.wav
    """


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script: runs a command and exits with its code."""
    run(group, argv)
