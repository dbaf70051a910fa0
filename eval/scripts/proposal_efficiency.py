"""What a better proposal is worth to the kernels that use one: effective sample size and acceptance.

    python eval/scripts/proposal_efficiency.py SHARED NATIVE NAME=FOLDER ... [--count 5] [--out FILE.md]

`none` as FOLDER is the prior's own encoder at the power less the initial noise. The noise is the same for all,
W H fitted to the noise alone, so that the proposals alone differ; the first E-step is measured, before the
proposal adapts to the posterior. A noise-aware network is asked again with this noise in a row of its own.
Mixtures are those of noisy_encoder_candidates.py.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from noisy_encoder_candidates import sets
from spectra import analysed

from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.inference.asking import ask_again
from vae_se.inference.em import step
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import load_prior
from vae_se.rng import Streams

KERNELS = ("encoder-is", "encoder-mh")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("native", type=Path)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("default", "cpu")
    rows: dict[tuple[str, str, str], list[float]] = {}
    for group, mixtures in sets(given.shared, given.native, given.count).items():
        for m in mixtures:
            _, spectra = analysed(prior.signal, m.rate, m.noisy, m.clean)
            noisy, clean = (spectrum[None] for spectrum in spectra)
            power, noise = noisy.abs().square(), (noisy - clean).abs().square() + POWER_FLOOR
            mask = torch.ones(power.shape[:2])
            for kernel in KERNELS:
                for text in given.encoders:
                    name, _, folder = text.partition("=")
                    config = Config().set(
                        f"inference.noisy_encoder={folder}", f"estep.name={kernel}", "estep.refresh=false"
                    )
                    em = build_em(config, prior)
                    streams = Streams.from_seed(0, [m.id], [power.shape[1]])
                    state = em.start(power, mask, streams)
                    fitted = em.noise.start_at(state.noise, noise, mask)
                    states = {name: dataclasses.replace(state, noise=fitted)}
                    if em.noisy_encoder is not None and em.noisy_encoder.noise_aware:
                        again = ask_again(em, power, mask, states[name], streams)
                        states[f"{name}, asked again"] = dataclasses.replace(again, noise=fitted)
                    for label, start in states.items():
                        _, info = step(em, power, mask, start, streams)
                        measured = info.ess / em.estep.draws if info.acceptance is None else info.acceptance
                        rows.setdefault((kernel, group, label), []).append(float(measured.mean()))
    text = "| kernel | mixtures | proposal | ESS / draws, or acceptance |\n|---|---|---|---:|\n"
    for (kernel, group, name), values in rows.items():
        text += f"| {kernel} | {group} | {name} | {np.mean(values):.3f} |\n"
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
