"""``vae-se stream``: sound that is still going on, enhanced as it comes."""

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

_AT_ONCE = 1 << 16  # bytes that are read at most before something is done with them


@click.command(short_help="Sound that is still going on, enhanced as it comes.")
@click.argument("source", metavar="[INPUT]", default="-")
@click.option("-o", "--output", metavar="FILE|-", default="-", help="Where to write; - is stdout, the default.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@raw_options
@click.option(
    "--lookahead",
    type=click.FloatRange(min=0),
    default=0.25,
    show_default=True,
    metavar="SECONDS",
    help="Sound that is heard before a block is enhanced.",
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
    help="Sound before a block that is remembered.",
)
@click.option("--level", type=float, metavar="DBFS", help="Active level of the speech, where it is known.")
@click.option("--prior", metavar="NAME|DIR", help="The model of clean speech (vae-se prior list).")
@click.option(
    "--atten-lim", type=click.FloatRange(min=0), metavar="DB", help="Turn the noise down by this at most."
)
@click.option("--seed", type=int, help="Seed of every random draw.  [default: 0]")
@click.option(
    "--device", default="cpu", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to compute."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def stream(source: str, output: str, **options: Any) -> int:
    """Remove the noise from a stream of speech while it is going on.

    INPUT is a file, or - (the default) for stdin: a WAV, or with --raw and --rate bare samples. The output is
    in the same format and as long as the input, and lags behind by the block, the look-ahead and 0.06 s,
    which is said on stderr.

    For example:  arecord -f S16_LE -r 16000 | vae-se stream | aplay
    """
    named = {"prior": options["prior"], "seed": options["seed"], "output.atten_lim_db": options["atten_lim"]}
    given = {key: value for key, value in named.items() if value is not None}
    raw = raw_format(options["raw"], options["rate"], options["channels"])
    with ExitStack() as stack:
        form, parts = _open(source, raw, stack)
        write = _sink(output, form, raw is not None, options["overwrite"], stack)
        from ..enhancement.online import SETTINGS, OnlineEnhancer

        config = Config().override(SETTINGS).override(given).set(*options["assignments"])
        level = None if options["level"] is None else 10 ** (options["level"] / 20)
        sizes = {key: options[key] for key in ("block", "lookahead", "context")}
        online = OnlineEnhancer.from_pretrained(
            form.rate, form.channels, config=config, device=options["device"], level=level, **sizes
        )
        if not options["quiet"]:
            say(f"{form.rate} Hz, {form.channels} channels, {1000 * online.latency:.0f} ms behind")
        for part in parts:
            write(online.push(part))
        write(online.flush())
    return 0


def _open(source: str, raw: RawFormat | None, stack: ExitStack) -> tuple[RawFormat, Iterator[np.ndarray]]:
    """The format of the input, and its samples (C, T) as they come."""
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
    """What comes, as soon as it comes, up to ``length`` bytes: what follows in a WAV are no samples."""
    left = length
    while left is None or left > 0:
        data = stdin.read1(_AT_ONCE if left is None else min(left, _AT_ONCE))  # type: ignore[attr-defined]
        if not data:
            return
        if left is not None:
            left -= len(data)
        yield data


def _sink(output: str, form: RawFormat, bare: bool, overwrite: bool, stack: ExitStack) -> Any:
    """A function that writes samples (C, T): to stdout at once, or to a file that appears when it is
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
        raise UsageError("sound on a terminal is of no use", "redirect it: > clean.wav, or give -o FILE")
    stdout = sys.stdout.buffer
    if not bare:
        stdout.write(wav_header(form))
        stdout.flush()

    def write(samples: np.ndarray) -> None:
        stdout.write(encode(samples, form.subtype))
        stdout.flush()

    return write
