"""``vae-se stream``: remove the noise from a stream while it is running."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..audio.raw import RAW, RawFormat
from ..audio.sound_card import check_device, sound_card
from ..config import BANDS, Config
from ..errors import OutputError, UsageError
from .common import raw_format, raw_options, say
from .live import LevelMeter, Performance, StopSignal, ToSpeaker, from_microphone, pieces

if TYPE_CHECKING:
    import numpy as np

    from ..enhancement.live import LiveEnhancer
    from ..enhancement.online import OnlineEnhancer

_CARD_RATE = 16000  # Hz, of the sound card
_READ_BYTES = 1 << 16  # at most, before they are processed


@click.command(short_help="Remove the noise from a stream while it is running.")
@click.argument("source", metavar="[INPUT]", default="-")
@click.option("-o", "--output", metavar="FILE|-", default="-", help="Output; - is stdout, the default.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@raw_options
@click.option(
    "--latency",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Largest delay, from 0.032: a stream for calls, without --block, --lookahead and --context.  [default "
    "with --mic or --speaker: 0.064]",
)
@click.option(
    "--mic", is_flag=False, flag_value="", metavar="[DEVICE]", help="Record from a microphone, until ^C."
)
@click.option("--speaker", is_flag=False, flag_value="", metavar="[DEVICE]", help="Play the output.")
@click.option(
    "--lookahead",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Sound after a block that is needed to enhance it.  [default: 0.25]",
)
@click.option(
    "--block",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Sound that is enhanced at a time.  [default: 0.25]",
)
@click.option(
    "--context",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Sound before a block that is used to enhance it.  [default: 1.75]",
)
@click.option("--level", type=float, metavar="DBFS", help="Active level of the speech, if it is known.")
@click.option("--prior", metavar="NAME|DIR", help="The speech prior (vae-se prior list).")
@click.option(
    "--atten-lim", type=click.FloatRange(min=0), metavar="DB", help="Largest attenuation of the noise."
)
@click.option(
    "--band",
    type=click.Choice(BANDS),
    help="Enhance the whole band of the stream, or the speech band below 8 kHz alone.  [default: full]",
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
    output has the same format and length as the input. Its delay is the block, the look-ahead and 0.06 s, or at
    most --latency; it is printed on stderr.

    --mic and --speaker use the sound card, at 16000 Hz unless --rate says otherwise, and show a level meter.
    ^C ends a recording; what has been recorded is finished and written.

    For example:  arecord -f S16_LE -r 16000 | vae-se stream | aplay

    A call:  vae-se stream --mic --speaker
    """
    call = _Call(options["mic"], options["speaker"])
    call.check(source, options["raw"])
    talks = call.used and not options["quiet"]
    performance = Performance()
    with ExitStack() as stack:
        from ..threads import dividing_work

        stack.enter_context(dividing_work(options["threads"]))
        raw: RawFormat | None = None
        parts: Iterator[np.ndarray] = iter(())
        if call.mic is None:
            raw = raw_format(options["raw"], options["rate"], options["channels"])
            form, parts = _open(source, raw, stack)
        else:
            form = RawFormat("PCM_16", options["rate"] or _CARD_RATE, options["channels"])
        sinks = []
        if call.speaker is None or output != "-":
            sinks.append(_sink(output, form, raw is not None, options["overwrite"], stack))
        online = _stream(options, form, call)
        performance.rate, block = form.rate, max(1, round(online.block * form.rate))
        if call.speaker is not None:
            speaker = sound_card().speaker(call.speaker, form.rate, form.channels, block)
            sinks.append(ToSpeaker(stack.enter_context(speaker), form.channels, block, performance))
            parts = pieces(parts, block)
        if call.mic is not None:
            microphone = sound_card().microphone(call.mic, form.rate, form.channels, block)
            stop = stack.enter_context(StopSignal())
            parts = from_microphone(stack.enter_context(microphone), block, stop, performance)
        if not options["quiet"]:
            say(f"{form.rate} Hz, {form.channels} channels, {1000 * online.latency:.0f} ms behind")
        meter = LevelMeter(performance, shown=talks)
        for part in parts:
            started = time.perf_counter()
            speech = online.push(part)
            performance.add(part.shape[1], time.perf_counter() - started)
            for write in sinks:
                write(speech)
            meter.update(part, speech)
        meter.end()
        rest = online.flush()
        for write in sinks:
            write(rest)
        if talks:
            say(performance.report())
    return 0


@dataclasses.dataclass(frozen=True)
class _Call:
    """Devices of the sound card, "" for the default ones, or None."""

    mic: str | None
    speaker: str | None

    @property
    def used(self) -> bool:
        """Whether the sound card is used."""
        return self.mic is not None or self.speaker is not None

    def check(self, source: str, raw: str | None) -> None:
        """Raise UsageError where a device is no device, or the microphone is not the only input."""
        for device in (self.mic, self.speaker):
            if device is not None:
                check_device(device)
        if self.mic is not None and (source != "-" or raw is not None):
            raise UsageError("--mic is an input itself", "leave INPUT and --raw out")


def _stream(options: dict[str, Any], form: RawFormat, call: _Call) -> OnlineEnhancer | LiveEnhancer:
    """The stream that the options describe: with a latency, or with block, look-ahead and context."""
    from ..enhancement import live, online

    named = {
        "prior": options["prior"], "seed": options["seed"], "output.atten_lim_db": options["atten_lim"],
        "output.band": options["band"],
    }  # fmt: skip
    given = {key: value for key, value in named.items() if value is not None}
    level = None if options["level"] is None else 10 ** (options["level"] / 20)
    sizes = {key: options[key] for key in ("block", "lookahead", "context") if options[key] is not None}
    latency = options["latency"]
    if latency is not None and sizes:
        raise UsageError(f"--latency and --{next(iter(sizes))} exclude each other", "give one of them")
    in_call = latency is not None or (call.used and not sizes)
    kind = live.LiveEnhancer if in_call else online.OnlineEnhancer
    config = Config().override(kind.settings).override(given)
    common = {
        "config": config.set(*options["assignments"]), "device": options["device"], "level": level,
        "threads": options["threads"],
    }  # fmt: skip
    if in_call:
        latency = live.LATENCY if latency is None else latency
        return live.LiveEnhancer.from_pretrained(form.rate, form.channels, latency=latency, **common)
    return online.OnlineEnhancer.from_pretrained(form.rate, form.channels, **sizes, **common)


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
