"""Noise that recordings share: one dictionary, learnt from what a first pass takes for noise in each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.resample import resample
from ..config import NoiseConfig
from ..errors import AudioError
from ..noise.dictionary import fit
from ..noise.store import NoiseDictionary
from ..numerics import POWER_FLOOR, SILENCE_RMS
from ..signal_spec import SignalSpec
from .enhancer import Enhancer

#: Spectra that are learnt, and the atoms that each recording keeps to itself beside them (docs/noise.md).
RANK, FREE = 16, 4
#: Frames that are looked at for each recording, spread over all of it.
FRAMES = 500
ITERATIONS = 60
# Frames 60 dB below what was taken out are its pauses; their shape is that of rounding.
_PAUSE = 1e-6
# An atom is learnt from this many frames at least, else it would learn chance.
_FRAMES_PER_ATOM = 10


def share_noise(
    enhancer: Enhancer, recordings: Iterable[tuple[Any, int]], names: tuple[str, ...] = ()
) -> NoiseDictionary:
    """A dictionary of the noise of ``recordings``, each samples (T,) or (C, T) and their rate.

    Each is enhanced by itself, and what was taken out of all of them is factorised together, by Itakura-Saito
    NMF of rank RANK (less where there are few frames). The divergence does not depend on levels, so a quiet
    recording counts as much as a loud one. Recordings are taken one after the other and not kept; ``names``
    are noted as the dictionary's sources.

    Raises AudioError where there is too little sound.
    """
    signal, parts = enhancer.prior.signal, []
    for samples, rate in recordings:
        _, info = enhancer.enhance(samples, rate, return_info=True, posterior=False)
        parts += _power(np.atleast_2d(np.asarray(info.noise)), rate, signal)
    power = torch.cat(parts) if parts else torch.zeros(0)
    rank = min(RANK, len(power) // _FRAMES_PER_ATOM)
    if rank < 1:
        raise AudioError("the recordings hold too little sound to learn a noise from", "give longer ones")
    atoms, _ = fit(power + POWER_FLOOR, rank, ITERATIONS)
    return NoiseDictionary(atoms, signal.rate, signal.window, signal.hop, names)


def sharing(enhancer: Enhancer, dictionary: str | Path, free: int = FREE) -> Enhancer:
    """The same enhancer with the spectra of a ``dictionary`` file held fixed, and ``free`` that are learnt."""
    was = enhancer.config.noise
    noise = NoiseConfig(
        "dictionary",
        init_spectrum=was.init_spectrum,
        init_scale=was.init_scale,
        init_jitter=was.init_jitter,
        file=str(dictionary),
        free=free,
    )
    config = dataclasses.replace(enhancer.config, noise=noise)
    return Enhancer(config, enhancer.prior, enhancer.device)


def _power(noise: np.ndarray, rate: int, signal: SignalSpec) -> list[torch.Tensor]:
    """Power (frames, F) of the channels (C, T) that hold noise, each of mean 1; FRAMES frames at most."""
    found = []
    for wave in resample(noise, rate, signal.rate):
        level = float(np.sqrt(np.mean(np.square(wave))))
        if level < SILENCE_RMS:
            continue
        power = signal.stft.analyse(torch.from_numpy((wave / level).astype(np.float32))).abs().square()
        power = power[power.mean(-1) > _PAUSE]
        count = min(len(power), FRAMES // len(noise))
        found.append(power[torch.linspace(0, len(power) - 1, count).round().long()])
    return found
