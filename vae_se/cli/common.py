"""What all subcommands share: errors in two lines, exit codes, signals, messages on stderr."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from ..audio.raw import RAW, RawFormat
from ..deprecated import DeprecatedNameWarning
from ..errors import UsageError, VaeSeError, nearest

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130


class Choice(click.Choice):
    """A choice whose error names the nearest words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices:
            option = param.opts[0] if param is not None else self.name
            raise UsageError(
                f"{option} {value}: expected {' or '.join(self.choices)}", nearest(value, self.choices)
            )
        return super().convert(value, param, ctx)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left; torch raises RuntimeError for it."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in text or "out of memory" in text)
    )


def debug_option(command: F) -> F:
    """``--debug`` for the help text; :func:`run` removes it from the arguments, wherever it stands."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        command
    )


def raw_options(command: F) -> F:
    """``--raw``, ``--rate`` and ``--channels``: the format of samples without a header."""
    for option in (
        click.option(
            "--channels", type=click.IntRange(1, 1024), default=1, show_default=True, help="Channels of --raw."
        ),
        click.option("--rate", type=int, metavar="HZ", help="Sampling rate of --raw."),
        click.option(
            "--raw", type=Choice(list(RAW)), help="Inputs are samples of this format, without a header."
        ),
    ):
        command = option(command)
    return command


def raw_format(name: str | None, rate: int | None, channels: int) -> RawFormat | None:
    """The format that these options give, or None. Raises UsageError where --raw or --rate is missing."""
    if (name is None) != (rate is None):
        raise UsageError("--raw and --rate belong together", "for example --raw s16le --rate 16000")
    return None if name is None or rate is None else RawFormat(RAW[name], rate, channels)


def say(message: str) -> None:
    """Print one line on stderr; stdout is for data."""
    click.echo(message, err=True)


def complain(message: str, hint: str = "") -> None:
    """Print an error: one line says what is wrong, one line what to do."""
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def run(command: click.Command, argv: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 usage, 130 interrupted by SIGINT (^C) or SIGTERM."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # --debug may stand anywhere before a bare --, as in `vae-se enhance x.wav --debug`.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [a for i, a in enumerate(arguments) if i >= end or a != "--debug"]
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with deprecations_in_one_line():
            code = _guarded(command, arguments, debug)
        sys.exit(code)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    """Treat SIGTERM like SIGINT, so that temporary files are removed."""
    raise KeyboardInterrupt


@contextmanager
def deprecations_in_one_line() -> Iterator[None]:
    """Print each deprecation warning of vae_se once, in one line on stderr; other warnings as usual."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DeprecatedNameWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if not issubclass(category, DeprecatedNameWarning):
                usual(message, category, *place)
            elif str(message) not in shown:
                shown.add(str(message))
                say(f"vae-se: warning: {message}")

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _guarded(command: click.Command, arguments: list[str], debug: bool) -> int:
    try:
        result = command.main(args=arguments, prog_name="vae-se", standalone_mode=False, obj={"debug": debug})
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except VaeSeError as error:
        if debug:
            traceback.print_exc()
        complain(error.message, error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "vae-se"
        complain(error.format_message(), f"{where} --help lists the arguments and options")
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
        # The reader of stdout is gone: nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if out_of_memory(error):
            complain("out of memory", "try a shorter file, fewer --jobs, or --preset fast")
            return 1
        complain(f"unexpected {type(error).__name__}: {error}", "run again with --debug and report the output")
        return 1


def import_torch() -> None:
    """Import torch, and hide what the import leaves from the garbage collector.

    Each full collection would go through its 250,000 objects, which stay until the end, in 0.1 s. Nothing
    happens where torch is imported already, in a program that uses this one.
    """
    if "torch" not in sys.modules:
        import torch  # noqa: F401

        gc.freeze()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Defer SIGINT (^C) and SIGTERM until the end of the block.

    For the import of compiled libraries, which may swallow an exception that a signal handler raises: the
    signal would be lost. A signal that the program ignores (as nohup and job runners arrange for SIGINT) stays
    ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def remember(number: int, _: object) -> None:
        received.append(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Where a signal is ignored or ends the process at once, there is no exception that could be lost.
    deferred = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in deferred:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
