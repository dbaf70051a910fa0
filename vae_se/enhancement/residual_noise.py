"""Residual noise: the part of the estimated noise that stays in the output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ..audio.level import LevelMeter
from ..audio.running import MEMORY
from ..config import OutputConfig
from ..numerics import SILENCE_RMS
from ..signal_spec import SignalSpec

#: A block (C, T) of the recording, and of its speech.
NoisyAndSpeech = tuple[np.ndarray, np.ndarray]


def keeps_noise(output: OutputConfig) -> bool:
    """Whether the settings keep a part of the noise."""
    return output.dry > 0 or math.isfinite(output.atten_lim_db) or math.isfinite(output.floor_db)


def residual_gain(output: OutputConfig, speech_level: float, noise_level: float) -> float:
    """Gain of the residual noise, from 0 to 1: the largest that one of three settings requires.

    ``dry`` is a gain itself. ``atten_lim_db`` limits the attenuation. ``floor_db`` attenuates noise that lies S
    dB below the speech down to ``floor_db`` below it and no further, that is by ``floor_db`` - S dB: quieter
    noise is hardly audible, and much of what is estimated as noise there is speech. ``speech_level``: active
    RMS of the speech; ``noise_level``: RMS of the noise.
    """
    least = max(output.dry, 10 ** (-output.atten_lim_db / 20))
    if not math.isfinite(output.floor_db) or noise_level < SILENCE_RMS:
        return least
    return max(least, min(1.0, speech_level / noise_level * 10 ** (-output.floor_db / 20)))


def residual_gains(output: OutputConfig, blocks: Iterable[NoisyAndSpeech], rate: int) -> np.ndarray | None:
    """Gain of the residual noise per channel, (C, 1); None where the settings keep no noise.

    ``blocks``: the recording and its speech from the first sample to the last, at ``rate`` Hz.
    """
    if not keeps_noise(output):
        return None
    meters: list[tuple[LevelMeter, LevelMeter]] = []
    for noisy, speech in blocks:
        meters = meters or [(LevelMeter(rate), LevelMeter(rate)) for _ in noisy]
        for (speech_meter, noise_meter), speech_row, noise_row in zip(
            meters, speech, noisy - speech, strict=True
        ):
            speech_meter.push(speech_row)
            noise_meter.push(noise_row)
    gains = [residual_gain(output, speech.active_rms(), noise.rms()) for speech, noise in meters]
    return np.array(gains)[:, None]


def add_residual_noise(blocks: Iterable[NoisyAndSpeech], gains: np.ndarray | None) -> Iterator[NoisyAndSpeech]:
    """The output (speech and residual noise) and the estimated noise, block by block.

    ``gains``: of :func:`residual_gains`, (C, 1) or None.
    """
    for noisy, speech in blocks:
        noise = noisy - speech
        yield (speech if gains is None else noise * gains.astype(noise.dtype) + speech), noise


class RunningResidual:
    """The residual noise of a stream: the level of the noise is that of an exponential window of the past."""

    def __init__(self, output: OutputConfig, signal: SignalSpec) -> None:
        self._output, self._hop_seconds = output, signal.hop / signal.rate
        self._power, self._frames = 0.0, 0.0

    def applied(self, wiener: torch.Tensor, spectrum: torch.Tensor, level: float) -> torch.Tensor:
        """The filter (N, F) that keeps as much noise as the settings require.

        ``wiener`` (N, F): of the next frames; ``spectrum`` (N, F): their complex spectra, on the scale of
        ``level``, the active RMS of the speech.
        """
        keep = np.exp(-len(wiener) * self._hop_seconds / MEMORY)
        noise = ((1 - wiener) * spectrum).abs().square().mean(-1)
        self._power = keep * self._power + float(noise.sum())
        self._frames = keep * self._frames + len(wiener)
        gain = residual_gain(self._output, level, float(np.sqrt(self._power / self._frames)))
        return wiener + gain * (1 - wiener)
