"""What many tests use: sound made from nothing, a prior that is small, the command line in this process."""

from __future__ import annotations

import dataclasses
import os
import sys

# One thread: small tensors gain nothing from more, and lose much where other processes want the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent


def speech_like(seconds: float = 1.0, rate: int = 16000, seed: int = 0, level: float = 0.05) -> np.ndarray:
    """A voice of sorts, (T,) float64: a gliding pitch, formants that move, syllables and pauses."""
    rng = np.random.default_rng(seed)
    samples = max(1, round(seconds * rate))
    time = np.arange(samples) / rate
    pitch = 130 + 40 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6)) + rng.uniform(-20, 20)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = [
        (centre + depth * np.sin(2 * np.pi * speed * time + rng.uniform(0, 6)), width)
        for centre, depth, speed, width in ((600, 200, 1.9, 90), (1500, 500, 1.3, 120), (2600, 300, 0.9, 170))
    ]
    sound = np.zeros(samples)
    for harmonic in range(1, int(min(4000, 0.45 * rate) / 90)):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - centre) / width) ** 2) for centre, width in formants)
        sound += gain * np.where(frequency < 0.45 * rate, 1, 0) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.2 * time + rng.uniform(0, 6)) + 0.3, 0, None)
    sound = sound * syllables + (0.02 * syllables + 0.002) * rng.standard_normal(samples)
    rms = np.sqrt(np.mean(sound**2))
    return sound * (level / rms if rms > 0 else 0.0)


def noisy_like(seconds: float = 1.0, rate: int = 16000, seed: int = 0, snr_db: float = 5.0) -> np.ndarray:
    """:func:`speech_like` in coloured noise, (T,) float64."""
    speech = speech_like(seconds, rate, seed)
    rng = np.random.default_rng(seed + 1000)
    noise = np.convolve(rng.standard_normal(speech.size + 8), np.ones(3) / 3, mode="same")[: speech.size]
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return speech + gain * noise


@pytest.fixture(scope="session")
def make_speech() -> Callable[..., np.ndarray]:
    """:func:`speech_like`."""
    return speech_like


@pytest.fixture(scope="session")
def make_noisy() -> Callable[..., np.ndarray]:
    """:func:`noisy_like`."""
    return noisy_like


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real speech and noise (``speech/``, ``noise/``); the test is skipped where there is none."""
    folder = Path(os.environ.get("VAE_SE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "speech" / "valid").is_dir():
        pytest.skip(f"no development data in {folder} (set VAE_SE_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a prior with 2 latents that was trained on :func:`speech_like`, for a second."""
    import torch

    from vae_se.audio.level import active_rms
    from vae_se.likelihood import complex_gaussian_log_prob
    from vae_se.numerics import POWER_FLOOR
    from vae_se.priors import PRIORS, save_prior

    folder = tmp_path_factory.mktemp("prior") / "tiny"
    speech = np.concatenate([speech_like(2.0, seed=seed) for seed in range(4)])
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS["ffvae"](hidden=(16,), latent_dim=2)
    waveform = torch.from_numpy(speech / active_rms(speech, 16000)).float()
    power = prior.signal.stft.analyse(waveform).abs().square() + POWER_FLOOR
    prior.set_statistics(power.log().mean(0), power.log().std(0).clamp_min(0.1))
    optimiser = torch.optim.Adam(prior.parameters(), 0.02)
    for _ in range(150):
        posterior = prior.encode(power[None])
        z, _ = posterior.rsample(1, generator)
        likelihood = complex_gaussian_log_prob(power[None], prior.decode(z)[:, 0])
        loss = (posterior.kl() - likelihood.sum(-1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_prior(prior, folder, "ffvae")
    return folder


@dataclasses.dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``cli("enhance", path, ...)`` runs the command line in this process."""
    from vae_se.cli import main

    def run(*arguments: Any) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Ran(int(stop.value.code or 0), out, err)

    return run


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """``wav(name, samples, rate, **soundfile_options)`` writes a file into the test's folder."""

    def write(name: str, samples: np.ndarray, rate: int = 16000, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.asarray(samples).T, rate, **options)
        return path

    return write
