"""Sounds with a pitch that is not speech: birds and insects, alarms, music."""

from __future__ import annotations

import math

import numpy as np

from .primitives import (
    band_noise,
    chance,
    control,
    envelope,
    log_uniform,
    phase_of,
    poisson_times,
    renewal_times,
    wave_table,
)


def _syllable(random: np.random.Generator, rate: int, hertz: float, seconds: float) -> np.ndarray:
    """A frequency-modulated whistle around ``hertz``: sweeps of up to an octave, and one in three with a
    trill."""
    n = max(32, round(seconds * rate))
    x = np.linspace(-1, 1, n)
    octaves = random.uniform(-0.6, 0.6) * x + random.uniform(-0.4, 0.4) * x**2
    if chance(random, 1 / 3):
        octaves = octaves + random.uniform(0.02, 0.2) * np.sin(
            2 * math.pi * random.uniform(20, 80) * seconds * (x + 1) / 2
        )
    f = np.clip(hertz * 2**octaves, 200, 0.46 * rate)
    phase = 2 * math.pi * phase_of(f, rate, random.random())
    overtone = random.uniform(0, 0.3) * np.sin(2 * phase) * (2 * f < 0.48 * rate)
    return np.asarray((np.sin(phase) + overtone) * np.hanning(n) ** random.uniform(0.5, 1.5))


def birds(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """1 to 5 birds: phrases of 1 to 12 like syllables, 30 to 350 ms each, at 1 to 7 kHz (0.4 for doves and
    owls).

    Syllables repeat every 1.1 to 3 times their duration; phrases come 0.1 to 0.7 times a second; birds are 0 to
    20 dB below the nearest one. Frequency-modulated whistles follow the source-filter view of bird song
    (Nowicki, Vocal tract resonances in oscine bird sound production, 1987), where the tract removes overtones.
    """
    out = np.zeros(samples + rate)
    for bird in range(int(random.integers(1, 6))):
        hertz = log_uniform(random, 400, 1000) if chance(random, 0.1) else log_uniform(random, 1000, 7000)
        near = 10 ** (-random.uniform(0, 20) / 20) if bird else 1.0
        starts = poisson_times(random, samples / rate, log_uniform(random, 0.1, 0.7))
        for start in starts if starts.size or bird else [random.uniform(0, 0.5 * samples / rate)]:
            seconds = log_uniform(random, 0.03, 0.35)
            call = _syllable(random, rate, hertz * 2 ** random.uniform(-0.3, 0.3), seconds)
            gap = round(call.size * random.uniform(1.1, 3))
            for number in range(int(random.integers(1, 13))):
                begin = round(start * rate) + number * gap
                if begin + call.size > out.size:
                    break
                out[begin : begin + call.size] += near * call * 10 ** (2 * random.standard_normal() / 20)
    return out[:samples]


def insects(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Crickets and cicadas: 1 to 6 carriers of 2 to 7.5 kHz, pulsed 8 to 120 times a second, in chirps or
    without end.

    Carriers are 5 to 200 Hz wide; three in four chirp 0.5 to 5 times a second with a duty of 20 to 80 %.
    """
    out, t = np.zeros(samples), np.arange(samples) / rate
    for _ in range(int(random.integers(1, 7))):
        centre, width = log_uniform(random, 2000, 7500), log_uniform(random, 5, 200)
        f = centre + width * control(random, samples, rate, 0.005)
        carrier = np.sin(2 * math.pi * phase_of(f, rate, random.random()))
        pulse = (
            0.5 + 0.5 * np.cos(2 * math.pi * (log_uniform(random, 8, 120) * t + random.random()))
        ) ** random.uniform(0.5, 3)
        if chance(random, 0.75):
            period, duty = 1 / log_uniform(random, 0.5, 5), random.uniform(0.2, 0.8)
            place = ((t + random.random() * period) / period) % 1
            pulse = pulse * np.clip(20 * (duty - place), 0, 1) * np.clip(20 * place, 0, 1)
        out += 10 ** (-random.uniform(0, 15) / 20) * carrier * pulse
    return out


def alarm(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Sirens, beeps and ring tones: 300 to 3500 Hz with 1 to 8 harmonics.

    A siren sweeps over 0.3 to 1.3 octaves, 0.15 to 5 times a second; a beeper switches tones of 60 to 600 ms on
    and off, in one or two pitches.
    """
    t = np.arange(samples) / rate
    base, count = log_uniform(random, 300, 2000), int(random.integers(1, 9))
    if chance(random, 0.5):
        sweep = np.sin(2 * math.pi * (log_uniform(random, 0.15, 5) * t + random.random()))
        f, gate = base * 2 ** (random.uniform(0.15, 0.65) * sweep), np.ones(samples)
    else:
        period, duty = log_uniform(random, 0.12, 1.2), random.uniform(0.3, 0.8)
        place = (t / period + random.random()) % 1
        gate = np.clip((duty - place) * period / 0.005, 0, 1) * np.clip(place * period / 0.005, 0, 1)
        second = 2 ** (random.uniform(-1, 0.8) if chance(random, 0.5) else 0)
        f = base * np.where((t / period).astype(int) % 2 == 0, 1.0, second)
    k = np.arange(1, count + 1)
    amplitudes = np.where(k * f.max() < 0.48 * rate, 10.0 ** (-random.uniform(2, 12) * np.log2(k) / 20), 0.0)
    return np.asarray(wave_table(phase_of(f, rate), amplitudes, random) * gate)


_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))


def music(samples: int, rate: int, random: np.random.Generator) -> np.ndarray:
    """Notes and chords with envelopes, and in one of two a drum pattern.

    60 to 180 beats a minute, one to three voices; each voice plays notes or chords of two to four tones of one
    scale, of a quarter beat to two beats. A plucked tone decays in 0.1 to 1.5 s; a sustained one has an attack
    of 10 to 150 ms and a vibrato of up to 3 % at 4 to 7 Hz. Harmonics fall by 3 to 14 dB an octave. Drums: a
    falling sine (kick), noise (snare), bright noise (hat).
    """
    out, seconds = np.zeros(samples), samples / rate
    beat, root = 60 / random.uniform(60, 180), log_uniform(random, 55, 220)
    scale = _SCALES[int(random.integers(len(_SCALES)))]
    for _ in range(int(random.integers(1, 4))):
        plucked, step = chance(random, 0.5), beat * float(random.choice([0.25, 0.5, 1.0, 2.0]))
        octave, slope = int(random.integers(0, 4)), random.uniform(3, 14)
        tones = int(random.integers(2, 5)) if chance(random, 0.4) else 1
        voice, vibrato = np.zeros(samples), random.uniform(0, 0.03) * (not plucked)
        wobble = random.uniform(4, 7)
        for start in np.arange(random.uniform(0, step), seconds, step):
            if chance(random, 0.25):
                continue
            begin = int(start * rate)
            decay = log_uniform(random, 0.1, 1.5) if plucked else 0.08
            hold = 0.0 if plucked else 0.8 * step
            n = min(samples - begin, int(rate * (hold + 4 * decay + 0.1)))
            t = np.arange(n) / rate
            shape = envelope(n, rate, 0.0, 0.004 if plucked else log_uniform(random, 0.01, 0.15), hold, decay)
            lowest = int(random.integers(len(scale)))
            for degree in range(lowest, lowest + 2 * tones, 2):  # a chord in thirds
                semitones = scale[degree % len(scale)] + 12 * (degree // len(scale) + octave)
                f = root * 2 ** (semitones / 12)
                count = int(min(40, 0.45 * rate / (f * 1.04)))
                if count < 1:
                    continue
                amplitudes = 10 ** (-slope * np.log2(np.arange(1, count + 1)) / 20)
                moving = f * (1 + vibrato * np.sin(2 * math.pi * wobble * t))
                voice[begin : begin + n] += shape * wave_table(phase_of(moving, rate), amplitudes, random, 2048)
        out += 10 ** (-random.uniform(0, 10) / 20) * voice / max(float(np.std(voice)), 1e-9)
    if chance(random, 0.5):
        out += 10 ** (random.uniform(-10, 6) / 20) * _drums(samples, rate, random, beat)
    return out


def _drums(samples: int, rate: int, random: np.random.Generator, beat: float) -> np.ndarray:
    """A pattern of kick, snare and hat at unit power."""
    t = np.arange(int(0.4 * rate)) / rate
    kick = np.sin(
        2 * math.pi * (log_uniform(random, 40, 80) * t + random.uniform(1, 4) * (1 - np.exp(-t / 0.03)))
    ) * np.exp(-t / 0.12)
    snare = band_noise(random, t.size, rate, 200, 6000) * np.exp(-t / log_uniform(random, 0.03, 0.12))
    hat = band_noise(random, t.size, rate, 4000, 7900) * np.exp(-t / log_uniform(random, 0.01, 0.06))
    out = np.zeros(samples)
    for sound, every in ((kick, 2.0), (snare, 2.0), (hat, float(random.choice([0.25, 0.5, 1.0])))):
        times = renewal_times(random, samples / rate, beat * every, 0.005)
        size = 10 ** ((2 * random.standard_normal(times.size) - random.uniform(0, 10)) / 20)
        train = np.bincount((times * rate).astype(int).clip(max=samples - 1), size, minlength=samples)
        length = samples + sound.size - 1
        out += np.fft.irfft(
            np.fft.rfft(train, length) * np.fft.rfft(sound / np.linalg.norm(sound), length), length
        )[:samples]
    return out / max(float(np.std(out)), 1e-9)
