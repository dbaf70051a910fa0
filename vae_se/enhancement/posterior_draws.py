"""Posterior draws of the speech: waveforms whose mean is the estimate and whose spread is its uncertainty."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from ..errors import UsageError
from ..rng import torch_stream
from ..stft import STFT
from .pipeline import EnhancedRecording
from .results import ChannelInfo
from .sample_buffer import MemoryBuffer, SampleBuffer


def check_draws(draws: int) -> None:
    """Raise UsageError for a number of draws below 0."""
    if draws < 0:
        raise UsageError(f"{draws} draws", "give the number of draws, 0 or more")


def drawn_recordings(
    recording: EnhancedRecording, stft: STFT, draws: int, seed: int, name: str
) -> Iterator[EnhancedRecording]:
    """``draws`` times the recording, with a posterior draw as its speech.

    Draw d depends on ``seed``, ``name`` and d, not on the number of draws. All channels have the same random
    numbers, so that the image of a source that is in several of them stays where it is. A silent channel is
    certain.
    """
    for number in range(draws):
        posteriors = iter(recording.posteriors)
        speech: list[SampleBuffer | None] = []
        for estimate in recording.speech:
            if estimate is None:
                speech.append(None)
                continue
            generator = torch_stream(seed, name, "draw", number)
            speech.append(drawn_speech(estimate, next(posteriors), stft, generator))
        yield dataclasses.replace(recording, speech=speech)


def drawn_speech(
    estimate: SampleBuffer, posterior: ChannelInfo, stft: STFT, generator: torch.Generator
) -> SampleBuffer:
    """E[s | x] plus a draw of its error at the prior's rate.

    The error is a complex Gaussian with the calibrated variance in every bin. Bins that were drawn one by one
    would belong to no waveform: synthesis would average the overlapping frames and lose most of the power. So
    the error is white noise whose STFT is multiplied by the deviation of every bin. Neighbouring frames and
    bins are then correlated as those of any waveform are. Where the deviation changes from bin to bin, that of
    the draws is its average over the reach of the window.
    """
    white = torch.randn(estimate.size, generator=generator)
    error = stft.synthesise(posterior.uncertainty * stft.analyse(white), estimate.size)
    drawn = MemoryBuffer(np.float32)
    drawn.append(estimate.read(0, estimate.size) + error.numpy())
    return drawn
