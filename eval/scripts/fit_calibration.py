"""Learn the constant of the calibrated posterior variance (vae_se/inference/calibration.py).

    python eval/scripts/fit_calibration.py ../shared/data [--mixtures 48] [--preset default] [--cache FOLDER]

DATA/speech/train is mixed with simulated noise (vae_se/noisy_encoder/simulation) at -8 to 22 dB; no recording
of noise and no validation speech is used. The deviation is the one for which the intervals of 80 % hold 80 % of
|s - E[s | x]|^2, in bins within 30 dB of the mean power of the clean speech. Maximum likelihood would be
decided by the few mixtures that the model misses by far. Writes vae_se/inference/calibration.json. Takes two
minutes on one idle core. Run it again when the prior, the noisy encoder or the default settings change.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.data.corpus import scan
from vae_se.data.waveforms import load_waveforms
from vae_se.inference.calibration import FITTED, Calibration
from vae_se.noisy_encoder.simulation.classes import WEIGHTS
from vae_se.noisy_encoder.simulation.pool import Pool, class_of, draw_item
from vae_se.rng import numpy_stream
from vae_se.storage.atomic import write_atomically
from vae_se.training.pool_mixtures import MixtureSettings, PoolMixtures

LEVEL, RANGE_DB, SECONDS, SEED = 0.8, 30.0, 4.0, 5
#: Bins that count, per mixture: the others add nothing but time.
BINS = 4000
#: Degradations that count as noise, yet are not: clipping, quantisation, late reverberation, and speech that is
#: clean.
SETTINGS = MixtureSettings(clean=0.0, clip=0.0, quantise=0.0, band=0.0, speech_room=0.0, microphone=0.0)


def simulated(
    data: Path, enhancer: Enhancer, count: int, cache: Path | None
) -> Iterator[tuple[np.ndarray, ...]]:
    """``count`` pairs of clean and noisy waveforms (T,) at the prior's rate; item k depends on k alone."""
    signal, prior = enhancer.signal, enhancer.em.prior
    waves = load_waveforms(scan(data / "speech" / "train"), signal, cache)
    names = tuple(class_of(SEED, number, WEIGHTS) for number in range(count))
    length = round(SECONDS * signal.rate)
    items = [draw_item(SEED, k, name, length, signal.rate, prior) for k, name in enumerate(names)]
    scales = np.array([max(float(np.abs(item).max()), 1e-9) / 32767 for item in items], np.float32)
    samples = np.stack([np.round(item / scale) for item, scale in zip(items, scales, strict=True)])
    pool = Pool(samples.astype(np.int16), scales, names, signal.rate, SEED)
    source = PoolMixtures([(waves, 1.0)], pool, prior, SECONDS, SETTINGS)
    for number in range(count):
        clean, noise = source.draw_one(numpy_stream(SEED, "calibration", number))
        yield clean, clean + noise


def errors(enhancer: Enhancer, clean: np.ndarray, noisy: np.ndarray, name: str) -> np.ndarray:
    """|s - E[s | x]|^2 over the variance before calibration, and the filter, (2, bins)."""
    _, info = enhancer.enhance(noisy, enhancer.signal.rate, return_info=True, name=name)
    stft, found = enhancer.signal.stft, info.channels[0]
    speech, mixture = (stft.analyse(torch.from_numpy(wave)) for wave in (clean, noisy))
    power = speech.abs().square()
    inside = torch.nonzero((power > power.mean() * 10 ** (-RANGE_DB / 10)).flatten())[:, 0]
    chosen = numpy_stream(SEED, "bins", name).permutation(len(inside))[:BINS]
    error = (speech - found.wiener * mixture).abs().square() / found.uncertainty.square()
    return np.stack([values.flatten()[inside[chosen]].double().numpy() for values in (error, found.wiener)])


def coverage(deviation: float, error: np.ndarray, wiener: np.ndarray, level: float = LEVEL) -> float:
    """How many of the errors lie in the intervals of probability ``level``."""
    calibration, filter_ = Calibration(deviation), torch.from_numpy(wiener)
    deviations = calibration.variance(torch.ones_like(filter_), filter_).sqrt()
    radius = calibration.radius(level, filter_) * deviations
    return float(np.mean(error <= radius.square().numpy()))


def main() -> None:
    """Learn the constant and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mixtures", type=int, default=48)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--cache", type=Path, help="of the waveforms")
    given = parser.parse_args()
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(preset=given.preset, device="cpu", inference__calibrate=False)
    pairs = simulated(given.data, enhancer, given.mixtures, given.cache)
    found = [errors(enhancer, *pair, str(number)) for number, pair in enumerate(pairs)]
    error, wiener = np.concatenate(found, axis=1)
    low, high = 0.0, 8.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if coverage(middle, error, wiener) < LEVEL else (low, middle)
    deviation = round((low + high) / 2, 3)
    levels = (0.5, 0.8, 0.95)
    before = {f"{level:g}": round(coverage(0.0, error, wiener, level), 3) for level in levels}
    after = {f"{level:g}": round(coverage(deviation, error, wiener, level), 3) for level in levels}
    result = {
        "deviation": deviation, "mixtures": given.mixtures, "preset": given.preset,
        "coverage_before": before, "coverage_after": after,
    }  # fmt: skip
    write_atomically(FITTED, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
