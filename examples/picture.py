"""Draw examples/before_after.png: spectrograms of the noisy, the enhanced and the clean example.

python examples/picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vae_se
from vae_se.audio import files
from vae_se.plots.canvas import figure, save
from vae_se.stft import STFT


def spectrogram(waveform: np.ndarray) -> np.ndarray:
    """Power spectrogram (F, N) in dB of a waveform (T,)."""
    spectrum = STFT(window=512, hop=128).analyse(torch.from_numpy(waveform))
    return 10 * np.log10(spectrum.abs().square().numpy().T + 1e-10)


def main() -> None:
    """Enhance the example and draw the spectrograms."""
    here = Path(__file__).parent
    noisy, clean = (files.read(here / f"{name}.wav") for name in ("noisy", "clean"))
    enhanced = vae_se.enhance(noisy.samples[0], noisy.rate)
    panels = {"noisy": noisy.samples[0], "enhanced by vae-se": enhanced, "clean": clean.samples[0]}
    top = spectrogram(noisy.samples[0]).max()
    made = figure(11, 7)
    for axes, (title, sound) in zip(made.subplots(3, 1, sharex=True), panels.items(), strict=True):
        image = axes.imshow(
            spectrogram(np.asarray(sound)),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top - 70,
            vmax=top,
            extent=(0, noisy.seconds, 0, noisy.rate / 2000),
        )
        axes.set(title=title, ylabel="frequency [kHz]")
    axes.set_xlabel("time [s]")
    made.colorbar(image, ax=made.axes, label="power [dB]", shrink=0.6)
    path = here / "before_after.png"
    save(made, path, dpi=75)
    # A palette: a third of the bytes, and no visible difference.
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
