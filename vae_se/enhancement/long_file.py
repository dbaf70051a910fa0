"""Files longer than memory: read, enhanced and written in blocks, with the same result as in one piece.

The file is read four times, which costs little compared with EM: to resample it and measure its level; after
EM, to measure the levels of speech and noise; to measure the peak of the output; to write the output. A file of
more than 16 kHz is read once more, to split it into bands.
"""

from __future__ import annotations

import time
from pathlib import Path

from ..audio.files import fingerprint, peak
from ..audio.formats import is_media_name, output_format
from ..audio.media import new_writer, opened, probe
from ..audio.raw import RawFormat
from ..audio.reader import Reader
from ..audio.writer import Limiter
from ..config import OutputConfig
from ..errors import AudioError
from .pipeline import enhance_recordings
from .residual_noise import add_residual_noise, residual_gains
from .results import Info
from .sample_buffer import DiskBuffer
from .segmented_em import ProgressCallback, SegmentedEM

#: Samples of all channels together above which a file is enhanced in blocks: 17 minutes of one channel at 16
#: kHz, 67 MB.
LONG = 1 << 24


def is_long(path: Path, raw: RawFormat | None = None, label: str | None = None) -> bool:
    """Whether a file has more than :data:`LONG` samples. Raises AudioError where it cannot be read."""
    if raw is None and is_media_name(path):
        media = probe(path, label)
        return media.seconds * media.rate * media.channels > LONG
    reader = Reader(path, label, raw)
    return reader.frames * reader.channels > LONG


def enhance_long(
    em: SegmentedEM,
    output: OutputConfig,
    source: Path,
    target: Path,
    *,
    clip: str = "clamp",
    noise: Path | None = None,
    raw: RawFormat | None = None,
    label: str | None = None,
    progress: ProgressCallback | None = None,
    comment: str = "",
    speech_presence: bool = False,
) -> tuple[float, Info]:
    """Enhance the file ``source`` into ``target``, and write the estimated noise to ``noise`` if that is given.

    ``output``: settings of the residual noise. ``clip``: see :class:`~vae_se.audio.writer.Limiter`. ``raw``:
    format of a file without a header. ``label``: name of the file in messages. ``comment``: a tag of the
    outputs. ``speech_presence``: also return the probability of speech. Meanwhile the folder of ``target``
    holds 8 to 12 bytes per sample and channel at the prior's rate, 8 at the file's where that is higher and the
    whole band is enhanced, and 4 more where ffmpeg decodes it.
    The files written are the same, to the last bit, as those of
    :meth:`~vae_se.enhancement.enhancer.Enhancer.enhance` and :func:`vae_se.audio.files.write`.

    Returns the duration in seconds, and the diagnostics. Raises AudioError where the file cannot be read or
    changes meanwhile, OutputError where the disk is full.
    """
    started, before = time.perf_counter(), fingerprint(source)
    with opened(source, label, raw, target.parent) as reader:
        (recording,) = enhance_recordings(
            em,
            [reader],
            [""],
            DiskBuffer.in_folder(target.parent),
            keep_presence=speech_presence,
            progress=progress,
        )
        gains = residual_gains(output, recording.blocks(), reader.rate, recording.summary)
        clipping: list[str] = []
        # The noise first: a run that is cut off may leave noise without speech, never speech without noise.
        outputs = ([(noise, 1)] if noise is not None else []) + [(target, 0)]
        for path, which in outputs:
            container, subtype = output_format(path, reader.container, reader.subtype)
            highest = max(peak(pair[which]) for pair in add_residual_noise(recording.blocks(), gains))
            limiter = Limiter(subtype, clip, highest, recording.peak)
            origin = source if path == target else None
            with new_writer(path, reader.rate, reader.channels, container, subtype, origin, comment) as writer:
                for pair in add_residual_noise(recording.blocks(), gains):
                    writer.write(limiter.apply(pair[which]))
                if fingerprint(source) != before:
                    raise AudioError(
                        f"{reader.label} changed while it was read",
                        "run again when nothing writes to it any more",
                    )
            if path == target:
                clipping = limiter.warnings()
        warnings = [*reader.warnings, *recording.warnings]
        info = Info.summary(
            None, time.perf_counter() - started, recording.diagnostics, warnings,
            speech_presence=recording.presence,
        )  # fmt: skip
        info.warnings += clipping
        return recording.samples / reader.rate, info
