"""One uploaded file to the files that the page plays, draws and offers for download."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np

from ..audio import files
from ..audio.reader import Reader
from ..audio.resample import Resampler
from ..audio.writer import Writer
from ..enhancement.enhancer import Enhancer
from ..enhancement.long_file import enhance_long, is_long
from ..enhancement.pipeline import silent_channel
from ..enhancement.results import ChannelInfo
from ..enhancement.segmented_em import ProgressCallback
from ..errors import AudioError
from ..signal_spec import SignalSpec
from .pictures import RANGE_DB, Spectrogram, as_bytes, averaged, top_db

#: Names of the files in the folder of a job. No name comes from the browser.
UPLOAD, DECODED, ENHANCED = "upload", "decoded.wav", "enhanced.wav"

#: Subtypes that a WAV holds without coding, so that the output has the length of the input to the sample.
_LINEAR = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}

#: What messages call the upload.
LABEL = "the recording"

#: Pictures in the order of the page. The last two show the posterior, which a long file does not keep.
KINDS = ("noisy", "enhanced", "noise", "uncertainty")

#: Longest recording: samples of all channels together, four hours of one channel at 48 kHz.
MOST_SAMPLES = 4 * 3600 * 48000


def listen_name(channel: int) -> str:
    """Name of the stereo file that holds channel ``channel`` before (left) and after (right)."""
    return f"listen-{channel}.wav"


def picture_name(channel: int, kind: str) -> str:
    """Name of the file with the bytes of a picture."""
    return f"picture-{channel}-{kind}"


@dataclasses.dataclass(frozen=True)
class Result:
    """What the page shows beside the files.

    ``seconds``: duration; ``rate`` in Hz; ``computing``: seconds; ``columns`` and ``bins``: size of a picture,
    which covers 0 Hz to ``highest`` Hz and ``range_db`` below ``top_db`` (one value per channel).
    ``posterior``: per channel, whether there are pictures of noise and uncertainty.
    """

    seconds: float
    rate: int
    channels: int
    computing: float
    warnings: list[str]
    columns: int
    bins: int
    highest: float
    top_db: list[float]
    posterior: list[bool]
    range_db: float = RANGE_DB
    kinds: tuple[str, ...] = KINDS


def check(upload: Path) -> None:
    """Raise AudioError unless ``upload`` is audio that can be read, and is not too long."""
    reader = Reader(upload, LABEL)
    if reader.frames * reader.channels > MOST_SAMPLES:
        raise AudioError("the recording is too long for this page", "vae-se enhance takes files of any length")


def process(folder: Path, enhancer: Enhancer, progress: ProgressCallback) -> Result:
    """Enhance ``folder/upload``, and write all other files into ``folder``.

    Raises AudioError where the upload cannot be read. An exception of ``progress`` ends the work.
    """
    started = time.perf_counter()
    noisy, target = _decoded(folder), folder / ENHANCED
    posteriors: list[ChannelInfo] = []
    if is_long(noisy, label=LABEL):
        _, info = enhance_long(
            enhancer.segmented_em, enhancer.config.output, noisy, target, label=LABEL, progress=progress
        )
        warnings = [*info.warnings, "long recordings are shown without estimated noise and uncertainty"]
    else:
        recording = files.read(noisy, LABEL)
        speech, info = enhancer.enhance(
            recording.samples, recording.rate, return_info=True, progress=progress, check_shape=False
        )
        warnings = [*recording.warnings, *info.warnings, *files.write(target, speech, recording)]
        posteriors = info.channels
    computing = time.perf_counter() - started
    return _show(folder, noisy, posteriors, warnings, enhancer.signal, computing)


def _decoded(folder: Path) -> Path:
    """The upload, or a WAV of its samples where it is coded (MP3, Vorbis, ADPCM)."""
    reader = Reader(folder / UPLOAD, LABEL)
    if reader.subtype in _LINEAR:
        return reader.path
    with Writer(folder / DECODED, reader.rate, reader.channels, "WAV", "PCM_24") as writer:
        for block in reader.blocks():
            writer.write(np.clip(block, -1, 1))
    return folder / DECODED


def _show(
    folder: Path,
    noisy: Path,
    posteriors: list[ChannelInfo],
    warnings: list[str],
    signal: SignalSpec,
    computing: float,
) -> Result:
    """Write the files to listen to and the pictures. ``posteriors``: of the channels that are not silent."""
    enhanced = Reader(folder / ENHANCED)
    frames = signal.stft.frames(-(-enhanced.frames * signal.rate // enhanced.rate))
    tops, present = [], []
    waiting = iter(posteriors)
    for channel in range(enhanced.channels):
        before = Spectrogram(frames, signal)
        after = Spectrogram(frames, signal)
        _listen(noisy, enhanced, channel, folder / listen_name(channel), before, after)
        powers = {"noisy": before.finish(), "enhanced": after.finish()}
        found = None if silent_channel(channel) in warnings else next(waiting, None)
        if found is not None:
            powers["noise"] = averaged(found.noise_variance.numpy(), frames)
            powers["uncertainty"] = averaged(found.uncertainty.square().numpy(), frames)
        tops.append(top_db(powers["noisy"]))
        present.append(found is not None)
        for kind, power in powers.items():
            (folder / picture_name(channel, kind)).write_bytes(as_bytes(power, tops[-1]))
    columns, bins = powers["noisy"].shape
    return Result(
        seconds=enhanced.frames / enhanced.rate,
        rate=enhanced.rate,
        channels=enhanced.channels,
        computing=computing,
        warnings=warnings,
        columns=columns,
        bins=bins,
        highest=signal.rate / 2,
        top_db=tops,
        posterior=present,
    )


def _listen(
    noisy: Path, enhanced: Reader, channel: int, target: Path, before: Spectrogram, after: Spectrogram
) -> None:
    """Write one channel before (left) and after (right) to ``target``, and draw both."""
    resampler = Resampler(enhanced.rate, before.signal.rate, 2, np.float32)

    def draw(pair: np.ndarray) -> None:
        before.push(pair[0])
        after.push(pair[1])

    with Writer(target, enhanced.rate, 2, "WAV", "PCM_24") as writer:
        for one, other in zip(Reader(noisy, LABEL).blocks(), enhanced.blocks(), strict=True):
            pair = np.stack([one[channel], other[channel]]).astype(np.float32)
            writer.write(np.clip(pair, -1, 1))
            draw(resampler.push(pair))
    draw(resampler.finish())
