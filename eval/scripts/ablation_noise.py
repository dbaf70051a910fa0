"""What each class of simulated noise is worth: small noisy encoders, each trained without one class.

    python eval/scripts/ablation_noise.py SHARED --speech FOLDER=WEIGHT ... --valid NATIVE --noise-pool POOL \\
        --valid-pool POOL [--steps 500] [--classes typing rain ...] --out eval/results/noise-classes.json

All networks see the same speech, seeds and number of steps; only the pool differs. `all`: nothing is left out,
with three seeds, whose spread is the error of every row. Scores are of the network alone, without EM, on
native speakers that nothing is trained on: gain in SNR (dB) and compressed spectral distance (filter_risk)
with 30 real noises of SHARED, and with simulated noise of the class itself, by the network with the class and
without it.
Changes are against the mean over the seeds. With 500 steps it takes an hour on one core. Rows that the file
holds already are kept, so an interrupted run goes on. `--table FILE.md` writes the table.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from vae_se.data.corpus import scan
from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.data.waveforms import load_waveforms
from vae_se.noisy_encoder.network import wiener_at
from vae_se.noisy_encoder.simulation.classes import WEIGHTS
from vae_se.noisy_encoder.simulation.pool import Pool, open_pool
from vae_se.noisy_encoder.store import AnyNoisyEncoder
from vae_se.priors import SpeechPrior, load_prior
from vae_se.rng import torch_stream
from vae_se.storage.atomic import write_atomically
from vae_se.training import schedule
from vae_se.training.averaged import Averaged
from vae_se.training.loop import initialise
from vae_se.training.mixtures import MixtureBatch
from vae_se.training.noisy_encoder_job import SpeechFolder
from vae_se.training.noisy_encoder_loss import filter_risk, loss_of, power_of
from vae_se.training.noisy_encoder_options import NoisyEncoderOptions
from vae_se.training.optimisers import muon_and_adamw
from vae_se.training.pool_mixtures import MixtureSettings, PoolMixtures

VOICES = "voices"  # talkers and crowd, which are made of the clean speech
SEEDS = (0, 1, 2)
SILENT = MixtureSettings(
    snr_db=(0.0, 10.0), clean=0, pause=0, talkers=0, crowd=0, layers=(1, 0, 0), microphone=0, band=0, clip=0,
    quantise=0, speech_room=0, noise_room=0,
)  # fmt: skip

Scores = tuple[float, float]


def train(source: PoolMixtures, prior: SpeechPrior, options: NoisyEncoderOptions, seed: int) -> AnyNoisyEncoder:
    """A network after ``options.steps`` steps on ``source``: the moving average of its weights."""
    model = initialise(lambda: options.network(prior.signal.stft.bins, prior.latent_dim), seed)
    first = source.draw(seed, "statistics", 0, 16)
    logs = torch.log(power_of(first.speech + first.noise) + 1e-12).flatten(0, 1)
    model.set_statistics(logs.mean(0), logs.std(0))
    averaged, optimiser = Averaged(model), muon_and_adamw(model, options.learning_rate)
    rate = functools.partial(
        schedule.trapezoid, total=options.steps, top=options.learning_rate, warmup=25, decay=options.decay
    )
    for step in range(options.steps):
        batch = source.draw(seed, "train", step, options.batch)
        power = power_of(batch.speech + batch.noise)
        for group in optimiser.param_groups:
            group["lr"] = rate(step) * group["scale"]
        optimiser.zero_grad()
        encoding = model(power, torch.ones_like(power[..., 0]))
        loss_of(prior, encoding, batch, torch_stream(seed, "step", step)).total(options.weights()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimiser.step()
        averaged.update(step + 1, options.average)
    return averaged.average


@torch.no_grad()
def scores(model: AnyNoisyEncoder, prior: SpeechPrior, batches: list[MixtureBatch]) -> Scores:
    """Mean gain in SNR (dB), over mixtures with noise, and mean distance of the network's filter."""
    gains, distances = [], []
    for batch in batches:
        mixture = batch.speech + batch.noise
        power = power_of(mixture)
        encoding = model(power, torch.ones_like(power[..., 0]))
        wiener = wiener_at(prior, encoding, encoding.posterior.mean)
        error = power_of(wiener * mixture - batch.speech).sum((-2, -1))
        noise = power_of(batch.noise).sum((-2, -1))
        gains.append(10 * torch.log10(noise / error)[noise > 0])
        distances.append(filter_risk(wiener, batch)[0])
    return float(torch.cat(gains).mean()), float(torch.stack(distances).mean())


def real(shared: Path, native: Path, prior: SpeechPrior) -> list[MixtureBatch]:
    """Native speakers in real noise, a batch each, at the level of the prior."""
    recipe = MixingRecipe(seed=31, count=30, min_utterance=1.0, join_to=4.0, max_seconds=6.0)
    stft = prior.signal.stft

    def batch(clean: np.ndarray, noisy: np.ndarray) -> MixtureBatch:
        scale = prior.signal.active_rms / np.sqrt(np.mean(noisy**2))
        pair = torch.from_numpy(np.stack([clean, noisy - clean]).astype(np.float32) * np.float32(scale))
        speech, noise = stft.analyse(pair).split(1)
        return MixtureBatch(speech, noise)

    return [batch(m.clean, m.noisy) for m in mixtures(recipe, native, shared / "noise")]


def names(chosen: list[str] | None) -> Iterator[tuple[str, int]]:
    """Class left out, and seed."""
    yield from (("all", seed) for seed in SEEDS)
    yield from ((name, SEEDS[0]) for name in chosen or [*sorted(WEIGHTS), VOICES])


def table(rows: dict[str, dict[str, Scores]]) -> str:
    """Markdown: with and without each class."""
    whole = np.array([rows[f"all, seed {seed}"]["real"] for seed in SEEDS])
    mean, std = whole.mean(0), whole.std(0, ddof=1)
    lines = [
        "# What each class of simulated noise is worth",
        "",
        "Small networks, each trained without one class; `eval/scripts/ablation_noise.py` describes them.",
        "",
        f"All classes, real noise: gain {mean[0]:.2f} dB, distance {mean[1]:.4f}; standard deviation over "
        f"seeds {std[0]:.2f} dB, {std[1]:.4f}.",
        "",
        "| left out | real noise: gain, change in dB | distance | gain in this class, with it, dB | without |",
        "|---|---|---|---|---|",
    ]
    base = rows[f"all, seed {SEEDS[0]}"]
    for key, row in sorted(rows.items()):
        if key.startswith("all"):
            continue
        change = np.subtract(row["real"], mean)
        own = f"{base[key][0]:.2f} | {row[key][0]:.2f}" if key in base else "- | -"
        lines.append(f"| {key} | {change[0]:+.2f} | {change[1]:+.4f} | {own} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--speech", nargs="+", required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--noise-pool", type=Path, required=True)
    parser.add_argument("--valid-pool", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--classes", nargs="+", choices=[*sorted(WEIGHTS), VOICES])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("default", "cpu").requires_grad_(False)
    options = NoisyEncoderOptions(
        width=96, channels=8, blocks=6, steps=given.steps, batch=4, seconds=3.0, decay=0.8, average=0.98
    )
    folders = [SpeechFolder.of(text) for text in given.speech]
    speech = [(load_waveforms(scan(f.path), prior.signal, given.cache), f.weight) for f in folders]
    native = [(load_waveforms(scan(given.valid), prior.signal, given.cache), 1.0)]
    pool, held_out = open_pool(given.noise_pool), open_pool(given.valid_pool)
    recorded = real(given.shared, given.valid, prior)

    def own(name: str) -> list[MixtureBatch]:
        others = set(held_out.names) - {name}
        source = PoolMixtures(native, held_out.without(*others), prior, 4.0, SILENT)
        return [source.draw(0, "own", number, 8) for number in range(2)]

    rows = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for name, seed in names(given.classes):
        key = f"all, seed {seed}" if name == "all" else name
        if key in rows:
            continue
        less: Pool = pool if name in ("all", VOICES) else pool.without(name)
        settings = MixtureSettings(talkers=0, crowd=0) if name == VOICES else MixtureSettings()
        model = train(PoolMixtures(speech, less, prior, options.seconds, settings), prior, options, seed)
        row = {"real": scores(model, prior, recorded)}
        if key == f"all, seed {SEEDS[0]}":
            row |= {known: scores(model, prior, own(known)) for known in sorted(set(held_out.names))}
        elif name in held_out.names:
            row[name] = scores(model, prior, own(name))
        rows[key] = row
        write_atomically(given.out, (json.dumps(rows, indent=1) + "\n").encode())
        print(key, {k: tuple(round(v, 4) for v in row[k]) for k in row if k in ("real", name)}, flush=True)
    if given.table:
        write_atomically(given.table, table(rows).encode())


if __name__ == "__main__":
    main()
