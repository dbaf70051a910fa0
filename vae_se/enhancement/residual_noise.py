"""Residual noise: the part of the estimated noise that stays in the output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..audio.level import LevelMeter
from ..audio.running import MEMORY
from ..config import OutputConfig
from ..inference.diagnostics import Diagnostics
from ..numerics import SILENCE_RMS
from ..signal_spec import SignalSpec

#: The model's own estimate of the SI-SDR in dB at which its doubt begins, and at which it is complete.
DOUBT_DB = (0.0, -4.0)
#: Level of the speech relative to the noise, in dB, below which there is no speech to doubt of, and above which
#: the doubt has its whole weight.
SPEECH_DB = (-16.0, -12.0)
#: Selectivity of the filter above which the model tells bins of speech from bins of noise, and below which it
#: does not (:attr:`~vae_se.inference.diagnostics.Diagnostics.selectivity`).
SELECTIVITY = (0.22, 0.15)

#: Of a recording about which the model says nothing.
UNKNOWN = Diagnostics()


class Block(NamedTuple):
    """A block (C, T) of the recording ``noisy`` and of its ``speech``.

    ``high_speech`` and ``high_noise`` (C, T): the parts of the speech, and of the noise (noisy less speech),
    above the prior's band; None where the bands are not treated separately.
    """

    noisy: np.ndarray
    speech: np.ndarray
    high_speech: np.ndarray | None = None
    high_noise: np.ndarray | None = None


class ResidualGains(NamedTuple):
    """Gains (C, 1) of the residual noise: in the prior's band, and above it (None as in :class:`Block`)."""

    low: np.ndarray
    high: np.ndarray | None = None


def keeps_noise(output: OutputConfig, found: Diagnostics) -> bool:
    """Whether the settings keep a part of the noise of a recording with the diagnostics ``found``."""
    doubtful = output.doubt > 0 and doubt(found, SPEECH_DB[1]) > 0
    return doubtful or output.dry > 0 or math.isfinite(output.atten_lim_db) or math.isfinite(output.floor_db)


def doubt(found: Diagnostics, speech_db: float) -> float:
    """How far the model doubts that what it calls speech is the speech, from 0 to 1.

    ``found``: the diagnostics of the recording; ``speech_db``: level of the speech relative to the noise. A
    voice among equals is a guess, and a wrong one does more harm than the noise. Such results have a low
    estimate of the SI-SDR, and a filter that hardly tells one bin from another. In other loud noise the filter
    is selective; a recording without speech has a low estimate, too, but hardly any speech is found there.
    """
    if found.snr_db is None or found.selectivity is None:
        return 0.0
    doubtful = _rise(found.snr_db, *DOUBT_DB) * _rise(found.selectivity, *SELECTIVITY)
    return doubtful * _rise(speech_db, *SPEECH_DB)


def _rise(value: float, zero: float, one: float) -> float:
    """0 at ``zero``, 1 at ``one``, linear between them and constant beyond."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def residual_gain(
    output: OutputConfig, speech_level: float, noise_level: float, found: Diagnostics = UNKNOWN
) -> float:
    """Gain of the residual noise, from 0 to 1: the largest that one of four settings requires.

    ``dry`` is a gain itself. ``atten_lim_db`` limits the attenuation. ``floor_db`` attenuates noise that lies S
    dB below the speech down to ``floor_db`` below it and no further, that is by ``floor_db`` - S dB: quieter
    noise is hardly audible, and much of what is estimated as noise there is speech. ``doubt`` is the gain where
    the model doubts its result in full (:func:`doubt`). ``speech_level``: active RMS of the speech;
    ``noise_level``: RMS of the noise; ``found``: diagnostics of the recording.
    """
    least = max(output.dry, 10 ** (-output.atten_lim_db / 20))
    if noise_level < SILENCE_RMS:
        return least
    ratio = speech_level / noise_level
    if output.doubt and ratio > 0:
        least = max(least, output.doubt * doubt(found, 20 * math.log10(ratio)))
    return max(least, min(1.0, ratio * 10 ** (-output.floor_db / 20)))


def residual_gains(
    output: OutputConfig, blocks: Iterable[Block], rate: int, found: Diagnostics = UNKNOWN
) -> ResidualGains | None:
    """Gains of the residual noise; None where the settings keep no noise.

    The noise above the prior's band is measured against the speech there; the gain of the other noise is that
    of all the noise against all the speech. ``blocks``: the recording from the first sample to the last, at
    ``rate`` Hz; ``found``: its diagnostics.
    """
    if not keeps_noise(output, found):
        return None
    low: list[_Levels] = []
    high: list[_Levels] = []
    for block in blocks:
        low = low or [_Levels(rate) for _ in block.noisy]
        _push(low, block.speech, block.noisy - block.speech)
        if block.high_speech is not None and block.high_noise is not None:
            high = high or [_Levels(rate) for _ in block.noisy]
            _push(high, block.high_speech, block.high_noise)
    return ResidualGains(
        np.array([[levels.gain(output, found)] for levels in low]),
        np.array([[levels.gain(output, found)] for levels in high]) if high else None,
    )


def add_residual_noise(
    blocks: Iterable[Block], gains: ResidualGains | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The output (speech and residual noise) and the estimated noise, (C, T) each, block by block.

    ``gains``: of :func:`residual_gains`.
    """
    for block in blocks:
        noise = block.noisy - block.speech
        output = block.speech
        if gains is not None:
            output = noise * gains.low.astype(noise.dtype) + block.speech
            if gains.high is not None and block.high_noise is not None:
                output = output + block.high_noise * (gains.high - gains.low).astype(noise.dtype)
        yield output, noise


class _Levels:
    """Meters of the speech and of the noise of a channel."""

    def __init__(self, rate: int) -> None:
        self.speech, self.noise = LevelMeter(rate), LevelMeter(rate)

    def gain(self, output: OutputConfig, found: Diagnostics) -> float:
        """Gain of the residual noise."""
        return residual_gain(output, self.speech.active_rms(), self.noise.rms(), found)


def _push(levels: list[_Levels], speech: np.ndarray, noise: np.ndarray) -> None:
    for channel, speech_row, noise_row in zip(levels, speech, noise, strict=True):
        channel.speech.push(speech_row)
        channel.noise.push(noise_row)


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
