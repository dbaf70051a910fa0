"""How much of the noise should stay where the model doubts its result (vae_se/enhancement/residual_noise.py)?

    python eval/scripts/doubt.py SHARED NATIVE [--count 20] [--seed 57] [--preset default] [--out FILE.md]

Mixtures of the validation speakers in SHARED and of native ones in NATIVE at -5, 0 and 5 dB: `count` of each
group in eight talkers, and as many in all kinds of noise. The constants are those of the module, but for the
changes that a row names. It prints the mean change of SI-SDR against the noisy recording, the number of files
that lose more than 1 dB, the worst file, and how many files keep noise for that reason; for recordings of noise
alone (6 s of every fifth file), by how much they are attenuated. The constants were chosen with the seeds 57
and 58, and on eight talkers at -5 dB with the seed 91.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.audio.files import read
from vae_se.audio.level import active_rms
from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.enhancement import residual_noise
from vae_se.enhancement.residual_noise import DOUBT_DB, SELECTIVITY, SPEECH_DB, doubt
from vae_se.inference.diagnostics import Diagnostics

BABBLE, SECONDS = "8talker", 6.0
#: Gain, the estimates of the SI-SDR between which the doubt grows, and the selectivities.
RULES = (
    (0.0, DOUBT_DB, SELECTIVITY),
    (0.7, DOUBT_DB, SELECTIVITY),
    (0.7, DOUBT_DB, (2.0, 1.0)),
    (0.5, DOUBT_DB, SELECTIVITY),
    (0.7, (1.0, -4.0), SELECTIVITY),
    (0.7, (0.0, -5.0), SELECTIVITY),
    (0.7, DOUBT_DB, (0.2, 0.12)),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """A recording: what the model says about its result, the level of its speech against the noise in dB, and
    the inner products of clean speech (zeros where there is none), estimated speech and noise (3, 3)."""

    found: Diagnostics
    speech_db: float
    products: np.ndarray

    def si_sdr(self, gain: float) -> float:
        """SI-SDR in dB of the estimated speech with the noise at ``gain``; with 1, of the recording."""
        mixed = np.array([0.0, 1.0, gain])
        cross, energy, clean = self.products[0] @ mixed, mixed @ self.products @ mixed, self.products[0, 0]
        return float(10 * np.log10(cross**2 / (clean * energy - cross**2)))

    def attenuation_db(self, gain: float) -> float:
        """How much quieter than the recording the output is."""
        energy = [mixed @ self.products @ mixed for mixed in (np.array([0.0, 1.0, g]) for g in (1.0, gain))]
        return float(10 * np.log10(energy[0] / energy[1]))


def result(enhancer: Enhancer, clean: np.ndarray, noisy: np.ndarray, rate: int) -> Result:
    """``noisy`` (T,) enhanced."""
    speech, info = enhancer.enhance(noisy.astype(np.float32), rate, return_info=True)
    noise = noisy - speech
    level = active_rms(speech, rate) / np.sqrt(np.mean(noise**2))
    waves = np.stack([clean, speech, noise]).astype(float)
    wiener = info.channels[0].wiener.double()
    found = Diagnostics(
        speech_energy=0.0 if info.snr_db is None else 10 ** (info.snr_db / 10),
        error_energy=1.0,
        filter_sum=float(wiener.sum()),
        filter_square_sum=float(wiener.square().sum()),
        filter_bins=wiener.numel(),
    )
    return Result(found, float(20 * np.log10(max(level, 1e-6))), waves @ waves.T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("native", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=57)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(
        preset=given.preset, device="cpu", threads=1, output__floor_db=float("inf"), output__doubt=0.0
    )
    recipe = MixingRecipe(
        count=given.count, seed=given.seed, min_utterance=1.0, join_to=4.0, max_seconds=SECONDS,
        snrs_db=(-5.0, 0.0, 5.0),
    )  # fmt: skip
    noise = given.shared / "noise"
    found: dict[str, list[Result]] = {"eight talkers": [], "all noise": []}
    for group, folder in (("eight talkers", noise / BABBLE), ("all noise", noise)):
        for speech in (given.shared / "speech/valid", given.native):
            for mixture in mixtures(recipe, speech, folder):
                found[group].append(result(enhancer, mixture.clean, mixture.noisy, mixture.rate))
    alone = []
    for path in sorted(noise.glob("*/*"))[::5]:
        recording = read(path)
        wave = recording.samples[0, : round(SECONDS * recording.rate)]
        alone.append(result(enhancer, np.zeros_like(wave), wave, recording.rate))
    columns = "mean, worst, below -1 dB, kept"
    lines = [
        f"| gain; dB; selectivity | eight talkers: {columns} | all noise: {columns} "
        "| noise alone: median, least |",
        "|---|---|---|---|",
    ]
    for most, limits, selectivity in RULES:
        residual_noise.DOUBT_DB, residual_noise.SELECTIVITY = limits, selectivity
        cells = [f"{most:g}, {limits[0]:g}, {limits[1]:g}, {selectivity[0]:g}, {selectivity[1]:g}"]
        gain = lambda r: most * doubt(r.found, r.speech_db)  # noqa: B023, E731
        for results in found.values():
            change = np.array([r.si_sdr(gain(r)) - r.si_sdr(1.0) for r in results])
            kept, below = sum(gain(r) > 0 for r in results), int((change < -1).sum())
            cells.append(f"{change.mean():+.2f}, {change.min():+.1f}, {below} of {len(change)}, {kept}")
        quieter = [r.attenuation_db(gain(r)) for r in alone]
        cells.append(f"{np.median(quieter):.1f} dB, {min(quieter):.1f} dB")
        lines.append("| " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        given.out.write_text(
            "# Doubt\n\n    python eval/scripts/doubt.py ../shared/data ../data-more/valid/librispeech "
            f"--seed {given.seed}\n\nPreset `{given.preset}`, change of SI-SDR in dB against the noisy "
            "recording at -5 to 5 dB, without floor; attenuation of noise alone. The doubt counts where the "
            f"speech lies at most {-SPEECH_DB[1]:g} to {-SPEECH_DB[0]:g} dB below the noise.\n\n{text}"
        )


if __name__ == "__main__":
    main()
