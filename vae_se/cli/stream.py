"""``vae-se stream``: remove the noise from a stream while it is running."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..audio.raw import RAW, RawFormat
from ..config import Config
from ..errors import OutputError, UsageError
from .common import raw_format, raw_options, say

if TYPE_CHECKING:
    import numpy as np

_READ_BYTES = 1 << 16  # at most, before they are processed


@click.command(short_help="Remove the noise from a stream while it is running.")
@click.argument("source", metavar="[INPUT]", default="-")
@click.option("-o", "--output", metavar="FILE|-", default="-", help="Output; - is stdout, the default.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@raw_options
@click.option(
    "--lookahead",
    type=click.FloatRange(min=0),
    default=0.25,
    show_default=True,
    metavar="SECONDS",
    help="Sound after a block that is needed to enhance it.",
)
@click.option(
    "--block",
    type=click.FloatRange(min=0, min_open=True),
    default=0.25,
    show_default=True,
    metavar="SECONDS",
    help="Sound that is enhanced at a time.",
)
@click.option(
    "--context",
    type=click.FloatRange(min=0),
    default=1.75,
    show_default=True,
    metavar="SECONDS",
    help="Sound before a block that is used to enhance it.",
)
@click.option("--level", type=float, metavar="DBFS", help="Active level of the speech, if it is known.")
@click.option("--prior", metavar="NAME|DIR", help="The speech prior (vae-se prior list).")
@click.option(
    "--atten-lim", type=click.FloatRange(min=0), metavar="DB", help="Largest attenuation of the noise."
)
@click.option("--seed", type=int, help="Seed of the random numbers.  [default: 0]")
@click.option("--device", default="cpu", show_default=True, metavar="auto|cpu|cuda[:i]", help="Compute device.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="CPU threads."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, such as inference.iterations=2; may be repeated.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def stream(source: str, output: str, **options: Any) -> int:
    """Remove the noise from a stream of speech while it is running.

    INPUT is a file, or - (the default) for stdin: a WAV, or samples without a header with --raw and --rate. The
    output has the same format and length as the input. Its delay is the block, the look-ahead and 0.06 s; it is
    printed on stderr.

    For example:  arecord -f S16_LE -r 16000 | vae-se stream | aplay
    """
    named = {"prior": options["prior"], "seed": options["seed"], "output.atten_lim_db": options["atten_lim"]}
    given = {key: value for key, value in named.items() if value is not None}
    raw = raw_format(options["raw"], options["rate"], options["channels"])
    with ExitStack() as stack:
        from ..threads import dividing_work

        stack.enter_context(dividing_work(options["threads"]))
        form, parts = _open(source, raw, stack)
        write = _sink(output, form, raw is not None, options["overwrite"], stack)
        from ..enhancement.online import SETTINGS, OnlineEnhancer

        config = Config().override(SETTINGS).override(given).set(*options["assignments"])
        level = None if options["level"] is None else 10 ** (options["level"] / 20)
        sizes = {key: options[key] for key in ("block", "lookahead", "context")}
        online = OnlineEnhancer.from_pretrained(
            form.rate,
            form.channels,
            config=config,
            device=options["device"],
            threads=options["threads"],
            level=level,
            **sizes,
        )
        if not options["quiet"]:
            say(f"{form.rate} Hz, {form.channels} channels, {1000 * online.latency:.0f} ms behind")
        for part in parts:
            write(online.push(part))
        write(online.flush())
    return 0


def _open(source: str, raw: RawFormat | None, stack: ExitStack) -> tuple[RawFormat, Iterator[np.ndarray]]:
    """The format of the input, and its samples (C, T) in blocks as they arrive."""
    from ..audio.pcm import Decoder, read_wav_header
    from ..audio.reader import Reader

    if source != "-":
        reader = Reader(Path(source), raw=raw)
        subtype = reader.subtype if reader.subtype in RAW.values() else "PCM_16"
        return RawFormat(subtype, reader.rate, reader.channels), reader.blocks()
    stdin = sys.stdin.buffer
    length = None
    if raw is None:
        start = read_wav_header(stdin)
        raw, length = start.form, start.length
    decoder = Decoder(raw)
    return raw, (decoder.push(data) for data in _bytes(stdin, length))


def _bytes(stdin: BinaryIO, length: int | None) -> Iterator[bytes]:
    """Bytes as soon as they arrive, at most ``length``: other chunks of a WAV follow its samples."""
    left = length
    while left is None or left > 0:
        data = stdin.read1(_READ_BYTES if left is None else min(left, _READ_BYTES))  # type: ignore[attr-defined]
        if not data:
            return
        if left is not None:
            left -= len(data)
        yield data


def _sink(output: str, form: RawFormat, bare: bool, overwrite: bool, stack: ExitStack) -> Any:
    """A function that writes samples (C, T) to stdout at once, or to a file that appears when it is
    complete."""
    from ..audio.files import prepare_folder
    from ..audio.formats import output_format
    from ..audio.pcm import encode, wav_header
    from ..audio.writer import Writer

    if output != "-":
        path = Path(output)
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already", "give --overwrite")
        prepare_folder(path)
        container, subtype = output_format(path, "RAW" if bare else "WAV", form.subtype)
        return stack.enter_context(Writer(path, form.rate, form.channels, container, subtype)).write
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "redirect the sound: > clean.wav, or give -o FILE")
    stdout = sys.stdout.buffer
    if not bare:
        stdout.write(wav_header(form))
        stdout.flush()

    def write(samples: np.ndarray) -> None:
        stdout.write(encode(samples, form.subtype))
        stdout.flush()

    return write
