"""Noise that several recordings share: one dictionary, learnt from the noise that a first pass estimates in
each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.resample import resample
from ..config import NoiseConfig
from ..device import usual_torch
from ..errors import AudioError
from ..noise.dictionary import fit
from ..noise.store import NoiseDictionary
from ..numerics import POWER_FLOOR, SILENCE_RMS
from ..signal_spec import SignalSpec
from ..threads import dividing_work
from .arrays import as_channels, checked_rate
from .enhancer import Enhancer

#: Spectra in the dictionary, and spectra that each recording learns by itself in addition (docs/noise.md).
RANK, FREE = 16, 4
#: Frames per recording that the dictionary is fitted to, evenly spread.
FRAMES = 500
ITERATIONS = 60
# Frames 60 dB below the mean of the estimated noise are pauses; their spectrum is that of rounding errors.
_PAUSE = 1e-6
# A spectrum is learnt from at least this many frames; fewer would give a spectrum of chance.
_FRAMES_PER_ATOM = 10


@usual_torch()
def share_noise(
    enhancer: Enhancer, recordings: Iterable[tuple[Any, int]], names: tuple[str, ...] = ()
) -> NoiseDictionary:
    """Learn a dictionary of the noise of ``recordings``, each samples (T,) or (C, T) and their rate in Hz.

    Each recording is enhanced by itself; the estimated noise of all of them is factorised together, by
    Itakura-Saito NMF of rank :data:`RANK` (less if there are few frames). The divergence does not depend on
    levels, so a quiet recording counts as much as a loud one. One recording at a time is in memory. ``names``
    become the dictionary's sources.

    Raises AudioError where there is too little sound.
    """
    signal, parts = enhancer.signal, []
    for samples, rate in recordings:
        samples, rate = as_channels(samples), checked_rate(rate)
        _, info = enhancer.enhance(samples, rate, return_info=True, posterior=False)
        parts += _power(np.atleast_2d(np.asarray(info.noise)), rate, signal)
    power = torch.cat(parts) if parts else torch.zeros(0)
    rank = min(RANK, len(power) // _FRAMES_PER_ATOM)
    if rank < 1:
        raise AudioError("the recordings hold too little sound to learn a noise from", "give longer ones")
    with dividing_work(enhancer.threads):
        atoms, _ = fit(power + POWER_FLOOR, rank, ITERATIONS)
    return NoiseDictionary(atoms, signal.rate, signal.window, signal.hop, names)


def sharing(enhancer: Enhancer, dictionary: str | Path, free: int = FREE) -> Enhancer:
    """The same enhancer with the noise spectra of a ``dictionary`` file fixed, and ``free`` spectra to
    learn."""
    settings = enhancer.config.noise
    noise = NoiseConfig(
        "dictionary",
        init_spectrum=settings.init_spectrum,
        init_scale=settings.init_scale,
        init_jitter=settings.init_jitter,
        file=str(dictionary),
        free=free,
    )
    config = dataclasses.replace(enhancer.config, noise=noise)
    return Enhancer(config, enhancer.prior, enhancer.device, enhancer.threads)


def _power(noise: np.ndarray, rate: int, signal: SignalSpec) -> list[torch.Tensor]:
    """Power (frames, F) of mean 1 of each channel (C, T) that is not silent; at most FRAMES frames in all."""
    spectra = []
    for wave in resample(noise, rate, signal.rate):
        level = float(np.sqrt(np.mean(np.square(wave))))
        if level < SILENCE_RMS:
            continue
        power = signal.stft.analyse(torch.from_numpy((wave / level).astype(np.float32))).abs().square()
        power = power[power.mean(-1) > _PAUSE]
        count = min(len(power), FRAMES // len(noise))
        spectra.append(power[torch.linspace(0, len(power) - 1, count).round().long()])
    return spectra
