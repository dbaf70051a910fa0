"""How much of sounds that are not noise survives: tones, singing, music, speech, without any noise.

    python eval/scripts/what_is_speech.py [--preset default]

All sounds but the speech are computed; the speech is examples/clean.wav. The program sees each sound alone, and
the table says how far its output lies below its input (the floor of the output is off, so that this is the
estimate of the speech itself).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from vae_se import Enhancer

RATE, SECONDS = 16000, 4.0
ROOT = Path(__file__).resolve().parents[2]


def harmonics(pitch: np.ndarray, amplitudes: list[float]) -> np.ndarray:
    """A sum of harmonics of ``pitch`` (T,) in Hz, with an amplitude each."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes))


def sounds() -> dict[str, np.ndarray]:
    """Sounds (T,) by what they are."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    constant, beats = np.full(time.size, 220.0), 1 + 0.5 * np.sin(2 * np.pi * 0.5 * time)
    vibrato = 220 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * time))
    glide = 150 + 60 * np.sin(2 * np.pi * 0.7 * time)
    # A sung "ah": a falling source with formants near 700, 1200 and 2600 Hz.
    frequency = 220 * np.arange(1, 18)
    vowel = [
        float(
            sum(
                1 / (1 + ((f - centre) / width) ** 2) for centre, width in ((700, 90), (1200, 110), (2600, 160))
            )
        )
        for f in frequency
    ]
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time) + 0.4, 0, None)
    chord = sum(harmonics(np.full(time.size, f), [1, 0.5, 0.3, 0.2]) for f in (220.0, 277.2, 329.6))
    plucks = np.exp(-6 * (time % 0.5)) * harmonics(np.full(time.size, 196.0), [1, 0.7, 0.5, 0.3, 0.2])
    speech, rate = soundfile.read(ROOT / "examples" / "clean.wav")
    assert rate == RATE
    return {
        "speech (examples/clean.wav)": speech,
        "sung vowel, vibrato, in syllables": syllables * harmonics(vibrato, vowel),
        "sung vowel, vibrato, held": harmonics(vibrato, vowel),
        "sung vowel, no vibrato, held": harmonics(constant, vowel),
        "flute: two harmonics, vibrato": harmonics(vibrato, [1, 0.2]),
        "whistle: one gliding tone": harmonics(6 * glide, [1]),
        "tone of 220 Hz": harmonics(constant, [1]),
        "tone of 220 Hz, slow beats": beats * harmonics(constant, [1]),
        "held chord of three notes": chord,
        "plucked string, two a second": plucks,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="default")
    preset = parser.parse_args().preset
    enhancer = Enhancer.from_pretrained(preset=preset, device="cpu", output__floor_db=float("inf"))
    print("| sound | output, dB below the input |\n|---|---:|")
    for name, sound in sounds().items():
        sound = 0.05 * sound / np.sqrt(np.mean(sound**2))
        made = enhancer.enhance(sound, RATE)
        print(f"| {name} | {10 * np.log10(np.sum(sound**2) / max(np.sum(made**2), 1e-20)):.1f} |", flush=True)


if __name__ == "__main__":
    main()
