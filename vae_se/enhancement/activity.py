"""Speech activity: time segments with speech, from the posterior probability of speech in every frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..signal_spec import SignalSpec

#: A frame belongs to a segment where speech is more probable than not.
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class SpeechSegment:
    """``start`` and ``end`` in seconds, and the mean ``probability`` of speech between them."""

    start: float
    end: float
    probability: float


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
