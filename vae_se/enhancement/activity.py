"""Speech activity: time segments with speech, from the posterior probability of speech in every frame.

The probability alone takes too much for speech: its margin is set so that pauses may be attenuated without
loss, and a loud noise that the noise model misses counts as speech as well. Frames in which the estimated
speech is faint are therefore left out. Scores are in eval/experiments.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..audio.level import LevelMeter
from ..audio.reader import BLOCK
from ..signal_spec import SignalSpec
from .channel import Channel
from .sample_buffer import SampleBuffer

#: A frame belongs to a segment where speech is more probable than not.
THRESHOLD = 0.5
#: A frame holds no speech where the posterior mean of the speech lies further below its active level, in dB.
FAINT_DB = 20.0
_FRAMES = 4096  # that are transformed at once


@dataclasses.dataclass(frozen=True)
class SpeechSegment:
    """``start`` and ``end`` in seconds, and the mean ``probability`` of speech between them."""

    start: float
    end: float
    probability: float


def audible(speech: SampleBuffer, signal: SignalSpec, device: torch.device) -> torch.Tensor:
    """Frames of ``speech`` that are at most :data:`FAINT_DB` below its active level, (N,): 1, and 0 for others.

    ``speech``: the posterior mean of one channel at the rate of ``signal``.
    """
    meter = LevelMeter(signal.rate)
    for start in range(0, speech.size, BLOCK):
        meter.push(speech.read(start, start + BLOCK))
    threshold = meter.active_rms() ** 2 * 10 ** (-FAINT_DB / 10)
    channel = Channel(speech, 1.0, signal.stft, device)
    powers = [
        channel.power(start, min(start + _FRAMES, channel.frames)).mean(-1).cpu()
        for start in range(0, channel.frames, _FRAMES)
    ]
    return (torch.cat(powers) > threshold).float()


def speech_segments(
    presence: Sequence[torch.Tensor], signal: SignalSpec, seconds: float
) -> list[SpeechSegment]:
    """The segments with speech in any channel of a recording of ``seconds``.

    ``presence``: probability of speech (N,) for each channel at the STFT of ``signal``. A frame stands for the
    hop around its centre. The hidden Markov chain of :func:`~vae_se.inference.speech_presence.speech_presence`
    has smoothed the probabilities; nothing is merged or dropped here.

    >>> signal = SignalSpec(rate=16000, window=1024, hop=256)
    >>> found = speech_segments([torch.tensor([0.0, 0.0, 1.0, 1.0, 0.1])], signal, 1.0)
    >>> found
    [SpeechSegment(start=0.008, end=0.04, probability=1.0)]
    """
    if not presence:
        return []
    probability = torch.stack(list(presence)).amax(0)
    active = torch.nn.functional.pad((probability > THRESHOLD).to(torch.int8), (1, 1)).diff()
    segments = []
    for first, stop in zip(
        (active == 1).nonzero().flatten().tolist(), (active == -1).nonzero().flatten().tolist(), strict=True
    ):
        start, end = max(0.0, _edge(first, signal)), min(seconds, _edge(stop, signal))
        if end > start:
            segments.append(SpeechSegment(start, end, float(probability[first:stop].mean())))
    return segments


def _edge(frame: int, signal: SignalSpec) -> float:
    """Time in seconds half a hop before the centre of a frame; the first frame begins window - hop early."""
    centre = frame * signal.hop - (signal.window - signal.hop) + signal.window / 2
    return (centre - signal.hop / 2) / signal.rate


def to_csv(segments: Sequence[SpeechSegment]) -> str:
    """CSV with a line for each segment: start and end in seconds, mean probability of speech.

    >>> print(to_csv([SpeechSegment(0.5, 1.25, 0.987)]), end="")
    start,end,probability
    0.500,1.250,0.987
    """
    lines = [f"{s.start:.3f},{s.end:.3f},{s.probability:.3f}" for s in segments]
    return "\n".join(["start,end,probability", *lines]) + "\n"
