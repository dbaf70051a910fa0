"""Draw the README's picture: an example that shows what the program can do, and one where it fails.

    python eval/scripts/readme_picture.py [--good street --bad 8talker] [-o examples/before_after.png]

Both are mixtures of the validation set (eval/results/validation.manifest.jsonl): of the noise ``--good`` the
one that gains most SI-SDR, of ``--bad`` the one that gains least. Needs the development data, $VAE_SE_DATA.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vae_se import Enhancer
from vae_se.benchmark.protocol import find_data_root
from vae_se.data.manifest import read_manifest
from vae_se.data.mixing import render
from vae_se.data.mixture import Mixture
from vae_se.errors import UsageError, nearest
from vae_se.metrics import score
from vae_se.plots.canvas import figure, save
from vae_se.stft import STFT

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5.0
COLOURS = 16  # of the palette, for a file below 60 kB


@dataclasses.dataclass(frozen=True)
class Example:
    """A mixture, its enhanced version (T,), and the SI-SDR of both in dB."""

    mixture: Mixture
    enhanced: np.ndarray
    before: float
    after: float


def examples(noise: str, data: Path, enhancer: Enhancer) -> list[Example]:
    """The mixtures of a noise, from the smallest gain to the largest."""
    _, draws = read_manifest(ROOT / "eval" / "results" / "validation.manifest.jsonl")
    kinds = {draw.noise_type for draw in draws}
    if noise not in kinds:
        raise UsageError(f"no noise {noise!r} in the validation set", nearest(noise, kinds))
    found = []
    for draw in draws:
        if draw.noise_type == noise:
            mixture = render(draw, data / "speech" / "valid", data / "noise")
            enhanced = np.asarray(enhancer.enhance(mixture.noisy, mixture.rate, name=mixture.id))
            before, after = (
                score(["si_sdr"], mixture.clean, made, mixture.rate)["si_sdr"].value
                for made in (mixture.noisy, enhanced)
            )
            found.append(Example(mixture, enhanced, before, after))
    return sorted(found, key=lambda one: one.after - one.before)


def spectrogram(waveform: np.ndarray) -> np.ndarray:
    """Power spectrogram (F, N) in dB of a waveform (T,)."""
    spectrum = STFT(window=512, hop=128).analyse(torch.from_numpy(np.ascontiguousarray(waveform)))
    return 10 * np.log10(spectrum.abs().square().numpy().T + 1e-10)


def main() -> None:
    """Choose the examples and draw them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", default="street")
    parser.add_argument("--bad", default="8talker")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "examples" / "before_after.png")
    given = parser.parse_args()
    enhancer, data = Enhancer.from_pretrained(device="cpu"), find_data_root(None)
    columns = {
        f"works: {given.good}": examples(given.good, data, enhancer)[-1],
        f"fails: {given.bad}": examples(given.bad, data, enhancer)[0],
    }
    made = figure(11, 6.5)
    panels = made.subplots(3, 2, sharex=True, sharey=True)
    for column, (title, one) in zip(panels.T, columns.items(), strict=True):
        mixture = one.mixture
        print(f"{title}: {mixture.id}, SI-SDR {one.before:.1f} to {one.after:.1f} dB")
        rows = {
            f"{title}, SI-SDR {one.before:.1f} dB": mixture.noisy,
            f"enhanced by vae-se, {one.after:.1f} dB": one.enhanced,
            "clean": mixture.clean,
        }
        length = int(SECONDS * mixture.rate)
        top = spectrogram(mixture.clean[:length]).max()
        for panel, (text, sound) in zip(column, rows.items(), strict=True):
            image = panel.imshow(
                spectrogram(sound[:length]), origin="lower", aspect="auto", cmap="magma",
                vmin=top - 60, vmax=top,
                extent=(0, min(SECONDS, mixture.clean.size / mixture.rate), 0, mixture.rate / 2000),
            )  # fmt: skip
            panel.set_title(text, fontsize=11)
        column[-1].set_xlabel("time [s]")
    for panel in panels[:, 0]:
        panel.set_ylabel("frequency [kHz]")
    made.colorbar(image, ax=panels, label="power [dB]", shrink=0.6)
    save(made, given.output, dpi=60)
    picture = Image.open(given.output).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(given.output, optimize=True)
    print(f"wrote {given.output}: {given.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
