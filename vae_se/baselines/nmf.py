"""Itakura-Saito NMF with a pretrained speech dictionary and noise atoms learnt from the recording."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from ..deprecated import renamed_attribute
from ..errors import VaeSeError
from ..rng import numpy_stream
from .base import baseline
from .spectral import Spectral, at_rate

_FLOOR = 1e-8  # of power relative to the recording's mean square, as in vae_se.numerics
_TINY = 1e-12
NOISE_ATOMS = 8
ITERATIONS = 100


class DictionaryError(VaeSeError):
    """A speech dictionary that is missing or cannot be used."""


@dataclasses.dataclass(frozen=True)
class SpeechDictionary:
    """Speech atoms (F, K), each of sum 1, and the STFT that they belong to."""

    atoms: np.ndarray
    spectral: Spectral

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``dictionary.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(save({"atoms": self.atoms.astype(np.float32)}))
        signal = dataclasses.asdict(self.spectral)
        (folder / "dictionary.json").write_text(json.dumps(signal, indent=2) + "\n")


def dictionary_folder() -> Path:
    """The folder of the shipped dictionary: in the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "pretrained" / "nmf-speech"
    return inside if inside.is_dir() else package.parent / "pretrained" / "nmf-speech"


@functools.cache
def load_dictionary(folder: Path) -> SpeechDictionary:
    """Read a dictionary. Raises DictionaryError where it is missing or damaged."""
    try:
        signal = json.loads((folder / "dictionary.json").read_text())
        atoms = load_file(folder / "weights.safetensors")["atoms"].astype(np.float64)
        spectral = Spectral(int(signal["window"]), int(signal["hop"]), int(signal["rate"]))
    except Exception as error:
        raise DictionaryError(
            f"cannot read the speech dictionary in {folder}: {error}",
            "train it with eval/scripts/train_nmf_dictionary.py",
        ) from None
    if atoms.ndim != 2 or atoms.shape[0] != spectral.window // 2 + 1 or not np.isfinite(atoms).all():
        raise DictionaryError(f"the atoms in {folder} have shape {atoms.shape}", "train the dictionary again")
    return SpeechDictionary(atoms / atoms.sum(axis=0), spectral)


def update(power: np.ndarray, moved: np.ndarray, fixed: np.ndarray, model: np.ndarray) -> np.ndarray:
    """One majorise-minimise step of the Itakura-Saito divergence in ``moved`` (N, K).

    ``power`` and its ``model`` = moved @ fixed are (N, F), ``fixed`` is (K, F). The exponent 1/2 (C. Fevotte,
    J. Idier, Algorithms for nonnegative matrix factorization with the beta-divergence, 2011) ensures that the
    divergence does not increase. For the other factor, pass everything transposed.
    """
    inverse = 1.0 / model
    ratio = ((power * inverse * inverse) @ fixed.T) / np.maximum(inverse @ fixed.T, _TINY)
    return np.maximum(moved * np.sqrt(ratio), _TINY)


def learn(power: np.ndarray, rank: int, iterations: int, generator: np.random.Generator) -> np.ndarray:
    """Atoms (F, K) of sum 1 from power frames (N, F), each frame first scaled to a mean of 1.

    The Itakura-Saito divergence is scale-invariant; the scaling avoids overflow in float32.
    """
    power = (power / power.mean(axis=1, keepdims=True)).astype(np.float32) + np.float32(1e-7)
    # Frames of the data, plus a constant, are a better start than random numbers.
    atoms = power[generator.permutation(power.shape[0])[:rank]].T + np.float32(0.05)
    atoms /= atoms.sum(axis=0)
    activity = np.full((power.shape[0], rank), power.shape[1] / rank, dtype=np.float32)
    for _ in range(iterations):
        activity = update(power, activity, atoms.T, activity @ atoms.T)
        atoms = update(power.T, atoms, activity.T, atoms @ activity.T)
        scale = atoms.sum(axis=0)
        atoms, activity = atoms / scale, activity * scale
    return atoms


def separate(
    power: np.ndarray,
    speech_atoms: np.ndarray,
    noise_atoms: int,
    iterations: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Variances (N, F) of speech and noise from the power (N, F) of a mixture; the speech atoms are fixed."""
    frames, bins = power.shape
    rank = speech_atoms.shape[1]
    level = power.mean()
    noise = power.mean(axis=0)[:, None] * generator.uniform(0.5, 1.5, (bins, noise_atoms))
    noise /= noise.sum(axis=0)
    speech = np.full((frames, rank), level * bins / (2 * rank))
    gain = np.full((frames, noise_atoms), level * bins / (2 * noise_atoms))
    for _ in range(iterations):
        # One step of speech and noise activations together, on the concatenated dictionary.
        joined = np.concatenate([speech_atoms, noise], axis=1).T
        activity = np.concatenate([speech, gain], axis=1)
        activity = update(power, activity, joined, activity @ joined)
        speech, gain = activity[:, :rank], activity[:, rank:]
        model = speech @ speech_atoms.T + gain @ noise.T
        noise = update(power.T, noise, gain.T, model.T)
        scale = noise.sum(axis=0)
        noise, gain = noise / scale, gain * scale
    return speech @ speech_atoms.T, gain @ noise.T


@baseline(
    "nmf-supervised",
    "P. Smaragdis, B. Raj, M. Shashanka, Supervised and semi-supervised separation of sounds from "
    "single-channel mixtures, 2007, with the Itakura-Saito divergence of C. Fevotte, N. Bertin, "
    "J.-L. Durrieu, 2009",
)
def nmf_supervised(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    """Speech dictionary trained on the training speech of the priors, 8 free noise atoms, Wiener filter.

    100 iterations; the noise atoms start at the mean spectrum of the recording times seeded random numbers.
    Raises DictionaryError where the dictionary is missing. The result has no band above 8 kHz.
    """
    dictionary = load_dictionary(dictionary_folder())
    spectral = dictionary.spectral

    def method(wave: np.ndarray) -> np.ndarray:
        spectrogram = spectral.analyse(wave)
        power = np.square(np.abs(spectrogram)) + _FLOOR
        generator = numpy_stream(0, "nmf-supervised")
        speech, noise = separate(power, dictionary.atoms, NOISE_ATOMS, ITERATIONS, generator)
        return spectral.synthesise(speech / (speech + noise) * spectrogram, wave.size)

    return at_rate(noisy, rate, spectral.rate, method)


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"Dictionary": "SpeechDictionary"})
