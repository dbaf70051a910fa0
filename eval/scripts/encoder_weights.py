"""How far to trust the noisy encoder: weights of its context and of its own posterior, against iterations.

    python eval/scripts/encoder_weights.py NATIVE POOL [--count 24] [--encoder auto] [--out FILE.md]

Scores on simulated mixtures alone: clean speech of NATIVE (speakers that nothing is trained on) with noise of
POOL (vae-se noise pool, another seed than the training's). Every EM run is pooled with the
encoder's posterior at every weight, so that a run serves a whole row.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.data.corpus import scan
from vae_se.data.waveforms import load_waveforms
from vae_se.inference.noisy_proposal import opinion_pool
from vae_se.metrics import score
from vae_se.noisy_encoder.simulation.pool import open_pool
from vae_se.priors import load_prior
from vae_se.rng import Streams, numpy_stream
from vae_se.training.pool_mixtures import MixtureSettings, PoolMixtures

METRICS = ("si_sdr", "pesq_wb", "estoi")
WEIGHTS = (0.0, 0.4, 0.6, 0.8, 1.0)
#: Settings of the EM runs, over the preset default; --runs replaces them.
RUNS = (
    "inference.iterations=0",
    "inference.iterations=5",
    "inference.iterations=10",
    "inference.iterations=20",
    "inference.iterations=40",
    "inference.context_weight=0.05",
    "inference.context_weight=0.25",
    "inference.iterations=40 inference.context_weight=0.25",
    "inference.averaging=8",
    "noise.exponent=0.5",
    "noise.rank=4",
    "noise.rank=16",
    "estep.learning_rate=0.05",
    "estep.draws=4",
    "gain.kind=fixed",
)
SEED = 31


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("native", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--runs", nargs="+", default=RUNS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("default", "cpu")
    prior.compress(Config().inference.decoder_error)
    speech = load_waveforms(scan(given.native), prior.signal, None)
    settings = MixtureSettings(snr_db=(-5.0, 15.0), speech_room=0.0, clean=0.0)
    source = PoolMixtures([(speech, 1.0)], open_pool(given.pool), prior, 4.0, settings)
    base = Config().set(f"inference.noisy_encoder={given.encoder}")
    scores: dict[tuple[str, float], list[list[float]]] = {}
    noisy, seconds = [], dict.fromkeys(given.runs, 0.0)
    stft, rate = prior.signal.stft, prior.signal.rate
    for number in range(given.count):
        clean, noise = source.draw_one(numpy_stream(SEED, "weights", number))
        mixture = torch.from_numpy(clean + noise)
        spectrum = stft.analyse(mixture[None])
        power, mask = spectrum.abs().square(), torch.ones(spectrum.shape[:2])
        noisy.append(values(clean, mixture.numpy(), rate))
        for run in given.runs:
            em = dataclasses.replace(build_em(base.set(*run.split()), prior), encoder_weight=0.0)
            begun = time.process_time()
            found = em.run(power, mask, Streams.from_seed(0, [str(number)], [power.shape[1]]))
            seconds[run] += (time.process_time() - begun) / (given.count * len(clean) / rate)
            proposal = found.state.proposal
            assert proposal is not None
            own = (proposal.wiener, proposal.variance)
            for weight in WEIGHTS:
                wiener = opinion_pool(own, (found.wiener, found.variance), weight)[0]
                output = stft.synthesise(wiener * spectrum, len(clean))[0].numpy()
                scores.setdefault((run, weight), []).append(values(clean, output, rate))
        print(f"{number + 1} of {given.count}", file=sys.stderr, flush=True)
    lines = [
        "| settings | s per s | " + " | ".join(f"weight {w}" for w in WEIGHTS) + " |",
        "|---|---:|" + "---|" * len(WEIGHTS),
    ]
    for run in given.runs:
        cells = " | ".join(cell(scores[run, weight]) for weight in WEIGHTS)
        lines.append(f"| `{run}` | {seconds[run]:.3f} | {cells} |")
    text = (
        f"{given.count} mixtures, noisy {cell(noisy)}: SI-SDR dB / PESQ-wb / ESTOI.\n\n"
        + "\n".join(lines)
        + "\n"
    )
    print(text)
    if given.out:
        given.out.write_text(text)


def values(clean: np.ndarray, output: np.ndarray, rate: int) -> list[float]:
    found = score(METRICS, clean, output, rate)
    return [float(found[metric].value) for metric in METRICS]


def cell(rows: list[list[float]]) -> str:
    si_sdr, pesq, estoi = np.nanmean(np.array(rows), axis=0)
    return f"{si_sdr:.2f} / {pesq:.2f} / {estoi:.3f}"


if __name__ == "__main__":
    main()
