"""Train the speech dictionary of the baseline nmf-supervised.

    python eval/scripts/train_nmf_dictionary.py ../shared/data/speech/train --out pretrained/nmf-speech

Draws frames at random, equally many from every speaker folder as far as possible, without frames more than 40
dB below the loudest of their file. Takes a minute on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

from vae_se.baselines.nmf import SpeechDictionary, learn
from vae_se.baselines.spectral import Spectral
from vae_se.rng import numpy_stream

AUDIBLE = 1e-4


def speaker_frames(
    files: list[Path], spectral: Spectral, wanted: int, generator: np.random.Generator
) -> np.ndarray:
    """Up to ``wanted`` power frames (N, F) of one speaker."""
    found, count = [], 0
    for index in generator.permutation(len(files)):
        wave, rate = soundfile.read(files[index])
        if rate != spectral.rate:
            raise SystemExit(f"{files[index]} is at {rate} Hz, expected {spectral.rate}")
        power = np.square(np.abs(spectral.analyse(wave)))
        level = power.mean(axis=1)
        power = power[level > AUDIBLE * level.max()]
        found.append(power[generator.permutation(len(power))[: max(1, wanted // 4)]])
        count += len(found[-1])
        if count >= wanted:
            break
    return np.concatenate(found)[:wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--atoms", type=int, default=64)
    parser.add_argument("--frames", type=int, default=24000)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    spectral = Spectral(1024, 256, 16000)
    generator = numpy_stream(options.seed, "nmf-speech")
    speakers: dict[Path, list[Path]] = {}
    for path in sorted(options.speech.rglob("*.flac")):
        speakers.setdefault(path.parent, []).append(path)
    if not speakers:
        raise SystemExit(f"no .flac below {options.speech}")
    share = -(-options.frames // len(speakers))
    power = np.concatenate([speaker_frames(files, spectral, share, generator) for files in speakers.values()])
    atoms = learn(power, options.atoms, options.iterations, generator)
    SpeechDictionary(atoms, spectral).save(options.out)
    counts = f"{options.atoms} atoms from {len(power)} frames of {len(speakers)} speakers"
    print(f"{counts}: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
