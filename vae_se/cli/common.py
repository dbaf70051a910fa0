"""What every subcommand shares: errors in two lines, exit codes, messages on stderr."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from ..audio.raw import RAW, RawFormat
from ..errors import UsageError, VaeSeError

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130


def debug_option(command: F) -> F:
    """``--debug``, for the help text: :func:`run` takes it out of the arguments, wherever it stands."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        command
    )


def raw_options(command: F) -> F:
    """``--raw``, ``--rate`` and ``--channels``, which say what samples without a header are."""
    for option in (
        click.option(
            "--channels", type=click.IntRange(1, 1024), default=1, show_default=True, help="Channels of --raw."
        ),
        click.option("--rate", type=int, metavar="HZ", help="Sampling rate of --raw."),
        click.option("--raw", type=click.Choice(list(RAW)), help="Inputs are bare samples, without a header."),
    ):
        command = option(command)
    return command


def raw_format(name: str | None, rate: int | None, channels: int) -> RawFormat | None:
    """What those options say; UsageError where one lacks the other."""
    if (name is None) != (rate is None):
        raise UsageError("--raw and --rate belong together", "for example --raw s16le --rate 16000")
    return None if name is None or rate is None else RawFormat(RAW[name], rate, channels)


def say(message: str) -> None:
    """One line on stderr; stdout is for data."""
    click.echo(message, err=True)


def complain(message: str, hint: str = "") -> None:
    """An error: one line what, one line what to do."""
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def run(command: click.Command, argv: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Wherever it stands before a bare --, as in `vae-se enhance x.wav --debug`.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [a for i, a in enumerate(arguments) if i >= end or a != "--debug"]
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(_guarded(command, arguments, debug))
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    """SIGTERM is taken as ^C is: no temporary file stays behind."""
    raise KeyboardInterrupt


def _guarded(command: click.Command, arguments: list[str], debug: bool) -> int:
    try:
        result = command.main(args=arguments, prog_name="vae-se", standalone_mode=False, obj={"debug": debug})
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except VaeSeError as error:
        if debug:
            traceback.print_exc()
        complain(str(error), error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "vae-se"
        complain(error.format_message(), f"{where} --help lists what can be given")
        return 2
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        if debug:
            traceback.print_exc()
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away; nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        complain("out of memory", "try a shorter file, fewer --jobs, or --preset fast")
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(
            f"unexpected {type(error).__name__}: {error}", "run again with --debug and report what it shows"
        )
        return 1


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold a ^C, or a SIGTERM, back until the block is over.

    For imports of compiled libraries: an exception that a signal raises in the middle of one may be
    swallowed there, and the ^C would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
