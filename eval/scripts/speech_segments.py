"""How well the probability of speech (--vad) finds the speech of validation mixtures.

    python eval/scripts/speech_segments.py [--preset fast] [--every 12]

A frame of the clean recording is speech above -20 dB of its active level, and a pause below -32 dB; frames in
between count as neither. The table has the share of speech frames that are found, and of pauses that are taken
for speech. Needs the development data, $VAE_SE_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from vae_se import Enhancer
from vae_se.audio.level import active_rms
from vae_se.benchmark.protocol import find_data_root
from vae_se.data.manifest import read_manifest
from vae_se.data.mixing import render

ROOT = Path(__file__).resolve().parents[2]
SPEECH_DB, PAUSE_DB = -20.0, -32.0
SECONDS = 5


def main() -> None:
    """Print a line for each mixture, and the shares over all frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--every", type=int, default=12, metavar="N", help="Every N-th mixture.")
    given = parser.parse_args()
    enhancer, data = Enhancer.from_pretrained(preset=given.preset, device="cpu"), find_data_root(None)
    stft = enhancer.signal.stft
    _, draws = read_manifest(ROOT / "eval" / "results" / "validation.manifest.jsonl")
    speech, pauses = [], []
    print("| mixture | speech found | pauses taken for speech |\n|---|---:|---:|")
    for draw in draws[:: given.every]:
        mixture = render(draw, data / "speech" / "valid", data / "noise")
        clean, noisy = (x[: SECONDS * mixture.rate] for x in (mixture.clean, mixture.noisy))
        _, info = enhancer.enhance(
            noisy, mixture.rate, return_info=True, posterior=False, speech_presence=True, name=mixture.id
        )
        found = info.speech_presence[0].numpy() > 0.5
        power = stft.analyse(torch.from_numpy(clean)).abs().square().mean(-1).numpy()
        level = 10 * np.log10(power + 1e-12) - 20 * np.log10(active_rms(clean, mixture.rate))
        speech.append(found[level > SPEECH_DB])
        pauses.append(found[level < PAUSE_DB])
        print(f"| {mixture.id} | {_share(speech[-1])} | {_share(pauses[-1])} |", flush=True)
    print(f"| all frames | {_share(np.concatenate(speech))} | {_share(np.concatenate(pauses))} |")


def _share(found: np.ndarray) -> str:
    return f"{found.mean():.2f} of {found.size}" if found.size else "none"


if __name__ == "__main__":
    main()
