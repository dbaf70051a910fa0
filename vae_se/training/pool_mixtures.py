"""Mixtures of clean speech and a pool of simulated noise, varied anew at every step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft

from ..audio.level import active_rms
from ..data.waveforms import WeightedSpeech, draw_cut
from ..noisy_encoder.simulation.channel import band_limit, clip, colour, quantise
from ..noisy_encoder.simulation.pool import Pool
from ..noisy_encoder.simulation.primitives import chance, control, log_uniform, unit_power
from ..noisy_encoder.simulation.room import Room, draw_room
from ..noisy_encoder.simulation.voices import crowd, talkers
from ..rng import numpy_stream
from .mixtures import Mixtures, MixtureWaveforms

_SILENT = 1e-6
_POINTS = 257  # of a frequency response in dB


@dataclasses.dataclass(frozen=True)
class MixtureSettings:
    """Probabilities and ranges of what is done to speech and noise.

    ``snr_db``: range of the SNR, uniform, of the speech's active level to the noise's power; ``clean``: share
    of mixtures whose noise lies 45 dB down; ``pause``: share whose first 0.2 to 1.5 s hold no speech;
    ``talkers``, ``crowd``: share whose noise includes one to three voices, a babble; ``layers``: probabilities
    of one, two, three noises of the pool; ``reverse``, ``speed`` (0.7 to 1.4 times), ``colour``, ``swell`` (a
    slow gain) of a noise; ``noise_room``, ``speech_room``: shares with a room response; ``microphone``
    (colouration), ``band``, ``clip`` and ``quantise`` of the mixture.
    """

    snr_db: tuple[float, float] = (-8.0, 22.0)
    clean: float = 0.05
    pause: float = 0.3
    talkers: float = 0.12
    crowd: float = 0.08
    layers: tuple[float, float, float] = (0.5, 0.35, 0.15)
    reverse: float = 0.15
    speed: float = 0.5
    colour: float = 0.6
    swell: float = 0.25
    noise_room: float = 0.4
    speech_room: float = 0.2
    microphone: float = 0.5
    band: float = 0.04
    clip: float = 0.04
    quantise: float = 0.03


@dataclasses.dataclass(frozen=True)
class PoolMixtures(Mixtures):
    """Draws batch number ``step`` of a stream; the same numbers whatever was drawn before.

    ``speech``: clean recordings with a weight each, from which cuts come; ``pool``: simulated noise;
    ``prior``: gives STFT, rate and level; ``seconds`` per mixture.

    The target is the dry speech; where speech gets a room response, it is the direct sound with the first 50
    ms, and the late tail counts as noise. A microphone's colouration and a band limit apply to speech and
    noise alike; what clipping and quantisation change counts as noise.
    """

    speech: WeightedSpeech
    pool: Pool
    prior: Any
    seconds: float = 4.0
    settings: MixtureSettings = MixtureSettings()

    def waveforms(self, seed: int, stream: str, step: int, size: int) -> MixtureWaveforms:
        """``size`` mixtures, each scaled so that its active level (ITU-T P.56) is the prior's."""
        pairs = [self.draw_one(numpy_stream(seed, stream, step, row)) for row in range(size)]
        speech, noise = (torch.from_numpy(np.stack(rows)) for rows in zip(*pairs, strict=True))
        return MixtureWaveforms(speech, noise)

    def draw_one(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms (samples,) float32 of target speech and noise; their sum has the prior's active level."""
        signal, given = self.prior.signal, self.settings
        length = round(self.seconds * signal.rate)
        speech = self._cut(length, random)
        if chance(random, given.pause):
            speech[: int(random.uniform(0.2, 1.5) * signal.rate)] = 0
        noise = self._noise(length, random)
        snr = 45.0 if chance(random, given.clean) else random.uniform(*given.snr_db)
        gain_db = np.zeros(_POINTS)
        if chance(random, given.microphone):
            gain_db = gain_db + colour(random, _POINTS, signal.rate, random.uniform(1, 5))
        if chance(random, given.band):
            gain_db = gain_db + band_limit(random, _POINTS, signal.rate)
        room = draw_room(signal.rate, random) if chance(random, given.speech_room) else None
        speech, late = _speech_at_microphone(speech, gain_db, room)
        noise = _filtered(noise, gain_db)
        noise *= 10 ** (-snr / 20) * signal.active_rms / max(math.sqrt(float(np.mean(noise**2))), _SILENT)
        if late is not None:
            noise = noise + late
        mixture = speech + noise
        if chance(random, given.clip):
            mixture = clip(mixture, random)
        if chance(random, given.quantise):
            mixture = quantise(mixture, random)
        scale = signal.active_rms / max(active_rms(mixture, signal.rate), _SILENT)
        return (scale * speech).astype(np.float32), (scale * (mixture - speech)).astype(np.float32)

    def _cut(self, length: int, random: np.random.Generator) -> np.ndarray:
        return draw_cut(self.speech, length, random)

    def _noise(self, length: int, random: np.random.Generator) -> np.ndarray:
        """Layers from the pool, with voices now and then, each at its own level (normal, 7 dB)."""
        given, rate = self.settings, self.prior.signal.rate
        layers = [self._from_pool(length, random) for _ in range(1 + int(random.choice(3, p=given.layers)))]
        kind = random.random()
        if kind < given.talkers:
            layers = [*layers[1:], talkers(length, rate, random, self._cut)]
        elif kind < given.talkers + given.crowd:
            layers = [*layers[1:], crowd(length, rate, random, self._cut)]
        total = np.zeros(length, np.float32)
        for layer in layers:
            total += np.float32(10 ** (7 * random.standard_normal() / 20)) * unit_power(layer)
        return total

    def _from_pool(self, length: int, random: np.random.Generator) -> np.ndarray:
        given, rate = self.settings, self.prior.signal.rate
        speed = log_uniform(random, 0.7, 1.4) if chance(random, given.speed) else 1.0
        item, need = int(random.integers(len(self.pool))), next_fast_len(round(length * speed), real=True)
        noise = self.pool.cut(item, int(random.integers(self.pool.samples.shape[1])), need)
        if chance(random, given.reverse):
            noise = noise[::-1]
        gain_db = np.zeros(_POINTS)
        if chance(random, given.colour):
            gain_db = colour(random, _POINTS, rate, random.uniform(1, 8))
        response = (
            draw_room(rate, random, direct_db=(-12, 12)).response if chance(random, given.noise_room) else None
        )
        noise = _filtered(noise, gain_db, response, length)
        if chance(random, given.swell):
            depth, time = random.uniform(2, 10), log_uniform(random, 0.2, 3.0)
            noise = noise * 10 ** (depth * control(random, length, rate, time) / 20)
        return noise


def _filtered(
    waveform: np.ndarray, gain_db: np.ndarray, response: np.ndarray | None = None, length: int | None = None
) -> np.ndarray:
    """``waveform`` with ``gain_db`` (equidistant to the Nyquist frequency) and ``response``, at ``length``
    samples.

    The change of length is a band-limited change of speed. The filter is circular: the tail of the end reaches
    the beginning, as if the sound had gone on before.
    """
    spectrum = rfft(waveform)
    spectrum *= np.interp(
        np.linspace(0, 1, spectrum.size), np.linspace(0, 1, gain_db.size), 10 ** (gain_db / 20)
    )
    if response is not None:
        spectrum *= rfft(response.astype(np.float32), waveform.size)
    length = length or waveform.size
    return np.asarray(irfft(spectrum, length)) * (length / waveform.size)


def _speech_at_microphone(
    speech: np.ndarray, gain_db: np.ndarray, room: Room | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Target speech, and the late reverberation that counts as noise (None without a room)."""
    if room is None and not gain_db.any():
        return speech, None
    taps = 0 if room is None else room.early.size
    size = next_fast_len(speech.size + taps + 512, real=True)
    spectrum = rfft(speech, size)
    spectrum *= np.interp(
        np.linspace(0, 1, spectrum.size), np.linspace(0, 1, gain_db.size), 10 ** (gain_db / 20)
    )
    if room is None:
        return irfft(spectrum, size)[: speech.size], None
    early = irfft(spectrum * rfft(room.early.astype(np.float32), size), size)[: speech.size]
    late = irfft(spectrum * rfft(room.late.astype(np.float32), size), size)[: speech.size]
    # The target keeps the level of the dry speech, whatever the reflections add.
    scale = float(np.linalg.norm(speech)) / max(float(np.linalg.norm(early)), 1e-9)
    return scale * early, scale * late
