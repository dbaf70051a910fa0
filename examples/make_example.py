"""Write examples/clean.wav and examples/noisy.wav: synthetic speech, and noise from a random generator.

    sudo apt-get install flite
    python examples/make_example.py

The voice is flite's `slt` (Debian package flite). The noise is computed from seeded random numbers, so the
samples are the same on every run, and no recording is used. 16 kHz, 16 bits, mono, 5 dB SNR.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, lfilter, sosfilt

from vae_se.audio.level import active_rms

RATE = 16000
SNR_DB = 5.0
SPEECH_DB = -26.0  # active level, dBFS
TEXT = "This voice was never recorded. It speaks in heavy rain, next to an old machine that hums."


def speak(text: str) -> np.ndarray:
    """Speech (T,) that flite synthesises from the text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        try:
            subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
        except FileNotFoundError:
            sys.exit("error: flite is missing\nhint: apt-get install flite")
        speech, rate = soundfile.read(path)
    assert rate == RATE, rate
    pause = np.zeros(RATE // 2)
    return np.concatenate([pause, speech, pause])


def rain(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Rain (T,): coloured noise of slowly varying level, and drops: decaying tones of random pitch."""
    hiss = lfilter([1.0], [1.0, -0.75], rng.standard_normal(samples))
    hiss = sosfilt(butter(2, [200, 7000], "bandpass", fs=RATE, output="sos"), hiss)
    time = np.arange(samples) / RATE
    swell = 1 + 0.35 * np.sin(2 * np.pi * 0.31 * time + 1.0) + 0.15 * np.sin(2 * np.pi * 0.83 * time)
    drops = np.zeros(samples)
    ring = np.arange(int(0.03 * RATE)) / RATE
    for start in rng.integers(0, samples - ring.size, size=int(25 * samples / RATE)):
        pitch = rng.uniform(1500, 6000)
        drops[start : start + ring.size] += (
            rng.exponential(1.0) * np.exp(-ring / 0.004) * np.sin(2 * np.pi * pitch * ring)
        )
    return hiss / hiss.std() * swell + 0.8 * drops / drops.std()


def hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum (T,): 100 Hz and harmonics with random phases and slowly varying amplitudes."""
    time = np.arange(samples) / RATE
    sound = np.zeros(samples)
    for harmonic in range(1, 25):
        phase = rng.uniform(0, 2 * np.pi)
        beat = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * time + phase)
        sound += beat * np.sin(2 * np.pi * 100 * harmonic * time + phase) / harmonic**0.8
    return sound / sound.std()


def main() -> None:
    """Write the two files beside this script."""
    rng = np.random.default_rng(20260101)
    speech = speak(TEXT)
    speech *= 10 ** (SPEECH_DB / 20) / active_rms(speech, RATE)
    noise = rain(speech.size, rng) + 0.7 * hum(speech.size, rng)
    noise *= 10 ** ((SPEECH_DB - SNR_DB) / 20) / noise.std()
    noisy = speech + noise
    print(f"{speech.size / RATE:.2f} s, peak {np.abs(noisy).max():.2f}")
    here = Path(__file__).parent
    soundfile.write(here / "clean.wav", speech, RATE, subtype="PCM_16")
    soundfile.write(here / "noisy.wav", noisy, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
