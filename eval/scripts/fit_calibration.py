"""Learn the constants of the calibrated posterior variance (vae_se/inference/calibration.py).

    python eval/scripts/fit_calibration.py ../shared/data [--mixtures 64] [--preset default]

DATA/speech/train is mixed with simulated noise (vae_se/noisy_encoder/simulation) at -5 to 15 dB; no recording
of noise and no validation speech is used. The deviation is the one for which the intervals of 80 % hold 80 % of
|s - E[s | x]|^2, in bins within 30 dB of the mean power of the clean speech. Maximum likelihood would be
decided by the few mixtures that the model misses by far. Exponents of the law are compared by
cross-validation over the classes of noise: the deviation is learnt on six sevenths of the classes, and the
coverage is counted on the others. Writes vae_se/inference/calibration.json. Takes a minute on one
idle core. Run it again when the prior, the noisy encoder or the default settings change.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
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
#: The exponent in use, and those that are compared with it.
EXPONENT, EXPONENTS = 1.0, (0.0, 0.5, 1.0, 2.0)
#: Groups of noise classes in cross-validation, and the limits of groups of SNR in dB.
FOLDS, SNR_LIMITS = 7, (-2.5, 2.5, 7.5, 12.5)
#: Degradations that count as noise, yet are not: clipping, quantisation, late reverberation, and speech that is
#: clean.
SETTINGS = MixtureSettings(
    snr_db=(-5.0, 15.0), clean=0.0, clip=0.0, quantise=0.0, band=0.0, speech_room=0.0, microphone=0.0
)


@dataclasses.dataclass(frozen=True)
class Errors:
    """Bins of one mixture or of several: ``error`` |s - E[s | x]|^2 over the variance before calibration, the
    ``wiener`` filter, the SNR of the mixture in dB, and the class of its noise, each (bins,)."""

    error: np.ndarray
    wiener: np.ndarray
    snr_db: np.ndarray
    kind: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        """The bins of all ``parts``."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def at(self, chosen: np.ndarray) -> Errors:
        """The bins that are ``chosen``, (bins,) boolean."""
        return Errors(self.error[chosen], self.wiener[chosen], self.snr_db[chosen], self.kind[chosen])


def simulated(
    data: Path, enhancer: Enhancer, count: int, settings: MixtureSettings = SETTINGS
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """``count`` clean and noisy waveforms (T,) at the prior's rate, with the class of the noise.

    Item k depends on k alone.
    """
    signal, prior = enhancer.signal, enhancer.em.prior
    waves = load_waveforms(scan(data / "speech" / "train"), signal)
    names = tuple(class_of(SEED, number, WEIGHTS) for number in range(count))
    length = round(SECONDS * signal.rate)
    items = [draw_item(SEED, k, name, length, signal.rate, prior) for k, name in enumerate(names)]
    scales = np.array([max(float(np.abs(item).max()), 1e-9) / 32767 for item in items], np.float32)
    samples = np.stack([np.round(item / scale) for item, scale in zip(items, scales, strict=True)])
    pool = Pool(samples.astype(np.int16), scales, names, signal.rate, SEED)
    source = PoolMixtures([(waves, 1.0)], pool, prior, SECONDS, settings)
    for number in range(count):
        clean, noise = source.draw_one(numpy_stream(SEED, "calibration", number))
        yield clean, clean + noise, names[number]


def errors(enhancer: Enhancer, clean: np.ndarray, noisy: np.ndarray, kind: str, name: str) -> Errors:
    """The errors of one mixture."""
    _, info = enhancer.enhance(noisy, enhancer.signal.rate, return_info=True, name=name)
    stft, found = enhancer.signal.stft, info.channels[0]
    speech, mixture = (stft.analyse(torch.from_numpy(wave)) for wave in (clean, noisy))
    power = speech.abs().square()
    loud = torch.nonzero((power > power.mean() * 10 ** (-RANGE_DB / 10)).flatten())[:, 0]
    chosen = loud[numpy_stream(SEED, "bins", name).permutation(len(loud))[:BINS]]
    error = (speech - found.wiener * mixture).abs().square() / found.uncertainty.square()
    error, wiener = (values.flatten()[chosen].double().numpy() for values in (error, found.wiener))
    snr_db = 10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum())
    return Errors(error, wiener, np.full(len(error), snr_db), np.full(len(error), kind))


def inside(calibration: Calibration, found: Errors, level: float = LEVEL) -> np.ndarray:
    """Which of the errors lie in the intervals of probability ``level``."""
    filter_ = torch.from_numpy(found.wiener)
    variance = calibration.variance(torch.ones_like(filter_), filter_)
    squared = calibration.radius(level, filter_).square() * variance
    return np.asarray(found.error <= squared.numpy())


def learnt(exponent: float, found: Errors) -> Calibration:
    """With the deviation for which the intervals hold as much as they should."""
    low, high = 0.0, 16.0
    for _ in range(16):
        middle = (low + high) / 2
        short = inside(Calibration(middle, exponent), found).mean() < LEVEL
        low, high = (middle, high) if short else (low, middle)
    return Calibration(round((low + high) / 2, 3), exponent)


def cross_validated(exponent: float, found: Errors) -> dict[str, float | list[float]]:
    """Coverage of classes of noise that the deviation is not learnt on.

    By SNR from low to high; its root mean square deviation from the level over tenths of the bins, from the
    lowest filter to the highest, and over the classes; the lowest of a class.
    """
    kinds = np.unique(found.kind)
    group = {kind: number % FOLDS for number, kind in enumerate(numpy_stream(SEED, "folds").permutation(kinds))}
    fold, held = np.array([group[kind] for kind in found.kind]), np.zeros(len(found.error), bool)
    for number in range(FOLDS):
        other = fold == number
        held[other] = inside(learnt(exponent, found.at(~other)), found.at(other))
    by_snr = np.digitize(found.snr_db, SNR_LIMITS)
    tenths = np.array_split(held[np.argsort(found.wiener, kind="stable")], 10)
    of_kind = np.array([held[found.kind == kind].mean() for kind in kinds])
    return {
        "by_snr": [round(float(held[by_snr == number].mean()), 3) for number in np.unique(by_snr)],
        "rms_over_filters": rms(np.array([part.mean() for part in tenths]) - LEVEL),
        "rms_over_classes": rms(of_kind - LEVEL),
        "lowest_class": round(float(of_kind.min()), 3),
    }


def rms(values: np.ndarray) -> float:
    """Root mean square, rounded."""
    return round(float(np.sqrt(np.mean(np.square(values)))), 3)


def coverage(calibration: Calibration, found: Errors) -> dict[str, float]:
    """Coverage of the intervals of 50, 80 and 95 %."""
    return {
        f"{level:g}": round(float(inside(calibration, found, level).mean()), 3) for level in (0.5, 0.8, 0.95)
    }


def main() -> None:
    """Learn the constants and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mixtures", type=int, default=64)
    parser.add_argument("--preset", default="default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(preset=given.preset, device="cpu", inference__calibrate=False)
    items = simulated(given.data, enhancer, given.mixtures)
    found = Errors.joined([errors(enhancer, *item, str(number)) for number, item in enumerate(items)])
    calibration = learnt(EXPONENT, found)
    result = {
        **dataclasses.asdict(calibration), "mixtures": given.mixtures, "preset": given.preset,
        "coverage_before": coverage(Calibration(), found), "coverage_after": coverage(calibration, found),
        "other_classes_by_exponent": {f"{one:g}": cross_validated(one, found) for one in EXPONENTS},
    }  # fmt: skip
    write_atomically(FITTED, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
