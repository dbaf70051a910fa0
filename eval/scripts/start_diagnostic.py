"""Does EM keep what is right? Scores from the true start, the shipped start and between, by iterations.

    python eval/scripts/start_diagnostic.py SHARED NATIVE [--count 10] [--encoder auto] [--set key=value ...]
        [--out FILE.md]

Mixtures are those of noisy_encoder_candidates.py. `shipped` is the noisy encoder's own start. The true latents
are the prior's encoder at the clean speech. The prior of the latents is centred there, as wide as that of the
shipped network. The true noise is W H fitted to the power of the noise alone.
Every start is scored before EM and after it; the objective is in nats per frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from noisy_encoder_candidates import METRICS, sets
from spectra import analysed

from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.inference.monte_carlo_em import MonteCarloEM
from vae_se.inference.noisy_proposal import Encoding, NoisyEncoderNetwork
from vae_se.metrics import score
from vae_se.noisy_encoder import NoisyEncoding
from vae_se.priors import load_prior
from vae_se.rng import Streams

Network = Callable[[torch.Tensor, torch.Tensor], Encoding]


def starts(
    shipped: NoisyEncoderNetwork, em: MonteCarloEM, speech: torch.Tensor, noise: torch.Tensor, streams: Streams
) -> dict[str, Network]:
    """Networks that return a start, given the power (1, N, F) of clean speech and of the noise."""
    mask = torch.ones(noise.shape[:2])
    with torch.no_grad():
        fitted = em.noise.start_at(em.noise.init(noise, mask, streams), noise, mask)
        log_noise = em.noise.variance(fitted).log()
    latents = em.prior.encode(speech, mask)

    def true_latents(power: torch.Tensor, mask: torch.Tensor) -> NoisyEncoding:
        found = shipped(power, mask)
        return NoisyEncoding(latents, found.log_noise, spread=found.spread)

    return {
        "shipped": shipped,
        "true z, true W H": lambda power, mask: dataclasses.replace(
            true_latents(power, mask), log_noise=log_noise
        ),
        "true z, shipped noise": true_latents,
        "shipped z, true W H": lambda power, mask: dataclasses.replace(
            shipped(power, mask), log_noise=log_noise
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("native", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--set", nargs="*", default=[], dest="settings")
    parser.add_argument("--iterations", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("default", "cpu")
    config = Config().set(f"inference.noisy_encoder={given.encoder}", *given.settings)
    prior.compress(config.inference.decoder_error)
    em = build_em(config, prior)
    shipped, stft = em.noisy_encoder, prior.signal.stft
    assert shipped is not None
    rows: dict[tuple[str, str, str], list[list[float]]] = {}
    for group, mixtures in sets(given.shared, given.native, given.count).items():
        for m in mixtures:
            scale, spectra = analysed(prior.signal, m.rate, m.noisy, m.clean)
            noisy, speech = (spectrum[None] for spectrum in spectra)
            power, mask = noisy.abs().square(), torch.ones(noisy.shape[:2])
            streams = lambda: Streams.from_seed(0, [m.id], [noisy.shape[1]])  # noqa: B023, E731
            found = starts(shipped, em, speech.abs().square(), (noisy - speech).abs().square(), streams())
            for name, network in found.items():
                runs = {"none": dataclasses.replace(em, encoder_weight=1.0, learnt_weight=0.0, iterations=0)}
                runs |= {str(k): dataclasses.replace(em, iterations=k) for k in given.iterations}
                for label, run in runs.items():
                    estimate = dataclasses.replace(run, noisy_encoder=network).run(power, mask, streams())
                    output = stft.synthesise(estimate.wiener * noisy, len(m.noisy))[0].numpy()
                    values = score(METRICS, m.clean, output * scale, m.rate)
                    trace = estimate.state.trace
                    objective = float(trace[-1].objective) if trace else float("nan")
                    row = [float(values[metric].value) for metric in METRICS] + [objective]
                    rows.setdefault((group, name, label), []).append(row)
            print(m.id, file=sys.stderr, flush=True)
    text = "| mixtures | start | iterations | SI-SDR dB | PESQ-wb | ESTOI | objective |\n"
    text += "|---|---|---:|---:|---:|---:|---:|\n"
    for (group, name, label), values in rows.items():
        si_sdr, pesq, estoi, objective = np.mean(values, axis=0)
        last = "" if np.isnan(objective) else f"{objective:.1f}"
        text += f"| {group} | {name} | {label} | {si_sdr:.2f} | {pesq:.2f} | {estoi:.3f} | {last} |\n"
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
