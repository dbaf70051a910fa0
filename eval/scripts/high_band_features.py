"""Powers of low and high bands of clean full-band speech, frame by frame: what the high band's decoder is
trained on.

    python eval/scripts/high_band_features.py ../data-more/fullband/train ../checkpoints/band/train.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from vae_se.audio import files
from vae_se.audio.level import active_rms
from vae_se.audio.resample import resample
from vae_se.high_band.bands import FIRST_CENTRE, HIGH_BANDS, SPACING, low_band_power, triangles
from vae_se.high_band.frames import AlignedSTFT
from vae_se.priors import load_prior
from vae_se.signal_spec import SignalSpec


def features(samples: np.ndarray, rate: int, signal: SignalSpec) -> tuple[torch.Tensor, np.ndarray] | None:
    """Power (N, F) of the low band, and mean power (N, HIGH_BANDS) in the high bands, at the prior's level.

    Bands beyond the recording's Nyquist frequency are NaN. None for silence.
    """
    low = resample(samples, rate, signal.rate)
    level = active_rms(low, signal.rate)
    if level < 1e-6:
        return None
    high = (samples - resample(low, signal.rate, rate, samples.size)) / level
    power = signal.stft.analyse(torch.from_numpy((low / level).astype(np.float32))).abs().square()
    stft = AlignedSTFT(signal, rate)
    first, last = stft.span(0, len(power))
    padded = np.pad(high.astype(np.float32), (-first, max(0, last - high.size)))
    spectra = stft.transform(padded[: last - first], 0, len(power)).abs().square()
    weight = triangles(stft.frequencies)
    weight[:, stft.frequencies < FIRST_CENTRE - SPACING] = 0
    total = weight.sum(1)
    banded = (spectra @ weight.T / total.clamp(min=1e-9)).numpy()
    centres = FIRST_CENTRE + SPACING * np.arange(HIGH_BANDS)
    banded[:, centres > 0.98 * rate / 2] = np.nan
    return power, banded


def main(folder: str, target: str) -> None:
    torch.set_num_threads(1)
    prior = load_prior("default")
    lows, highs, latents, speakers, lengths = [], [], [], [], []
    paths = sorted(Path(folder).glob("*/*"))
    names = sorted({path.parent.name for path in paths})
    for number, path in enumerate(paths):
        recording = files.read(path)
        found = features(recording.samples[0].astype(np.float64), recording.rate, prior.signal)
        if found is None:
            continue
        power, high = found
        lows.append(low_band_power(power).numpy())
        highs.append(high)
        with torch.no_grad():
            latents.append(prior.encode(power[None]).mean[0].numpy().astype(np.float16))
        speakers.append(np.full(len(high), names.index(path.parent.name), np.int16))
        lengths.append(len(high))
        if number % 200 == 0:
            print(number, "of", len(paths), flush=True)
    np.savez(
        target, low=np.concatenate(lows), high=np.concatenate(highs), z=np.concatenate(latents),
        speaker=np.concatenate(speakers), length=np.array(lengths), names=np.array(names),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
