"""Train a noisy encoder for days: on a pool of simulated noise, resumable, with an export at every validation.

    python eval/scripts/train_noisy_encoder.py OUT --pool POOL --valid-pool POOL --speech FOLDER=WEIGHT ... \
        --valid FOLDER --native FOLDER [--set key=value ...]

OUT/state.pt is the checkpoint (the same command resumes; steps are a function of (seed, step)), OUT/log.jsonl
has one line a validation, OUT/export is what `--set inference.noisy_encoder=OUT/export` takes: the weights'
moving average. Learning rate: a linear warm-up, then constant, so that a training can be longer than was
planned; `--set decay_from=STEP --set decay_steps=N` ends it with a linear decay to 0.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from vae_se.data.corpus import scan
from vae_se.data.waveforms import load_waveforms
from vae_se.noisy_encoder.convolutional import CalibratedEncoding, ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.network import NoisyEncoder, NoisyEncoding
from vae_se.noisy_encoder.simulation.pool import open_pool
from vae_se.noisy_encoder.store import load_noisy_encoder, save_noisy_encoder
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import load_prior
from vae_se.priors.store import locate
from vae_se.rng import derive, torch_stream
from vae_se.training.mixtures import MixtureBatch, MixtureSource
from vae_se.training.muon import Muon
from vae_se.training.pool_mixtures import PoolMixtures

VALID_BATCHES, STATISTICS_BATCHES, VALID_SIZE = 4, 8, 16
DEVIATION = 1.5  # standard deviation of the prior on the speech's deviation, nats
COMPRESSION = 0.3


@dataclasses.dataclass
class Options:
    """Keys of --set."""

    architecture: str = "convolutional"
    width: int = 256
    channels: int = 16
    blocks: int = 8
    hidden_size: int = 128
    causal: bool = False
    optimiser: str = "muon"
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 200.0
    noise_weight: float = 1.0
    filter_weight: float = 1000.0
    sdr_weight: float = 10.0
    average: float = 0.998
    batch: int = 16
    seconds: float = 4.0
    every: int = 100
    decay_from: int = 0
    decay_steps: int = 0


def power(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def build(options: Options, prior: Any, seed: int) -> Any:
    bins, latent = prior.signal.stft.bins, prior.latent_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial"))
        if options.architecture == "recurrent":
            return NoisyEncoder(bins, latent, options.width, options.hidden_size, options.causal)
        return ConvolutionalNoisyEncoder(
            bins, latent, options.width, options.channels, options.blocks, options.causal
        )


def optimisers(model: Any, options: Options) -> list[torch.optim.Optimizer]:
    """Muon for the matrices within the network (after Jordan et al., 2024), AdamW for all else."""
    within = [
        p
        for n, p in model.named_parameters()
        if p.ndim == 2 and options.optimiser == "muon" and "bias" not in n
    ]
    rest = [p for p in model.parameters() if all(p is not q for q in within)]
    adam = torch.optim.AdamW(rest, lr=options.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    return [adam, Muon(within, lr=options.learning_rate)] if within else [adam]


def robust_nll(power: torch.Tensor, log_variance: torch.Tensor, cap: float = 40.0) -> torch.Tensor:
    """-log N_c less its constant, summed over bins, where the ratio r = power / variance grows as its
    logarithm above ``cap``. Under the model r is exponential of mean 1, so that nothing changes near the
    optimum; far from it, a few frames would otherwise have all of the gradient."""
    log_ratio = torch.log(power + POWER_FLOOR) - log_variance
    low = torch.exp(log_ratio.clamp(max=math.log(cap)))
    return (log_variance + low + cap * (log_ratio - math.log(cap)).clamp(min=0)).sum(-1)


def filter_loss(wiener: torch.Tensor, batch: MixtureBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Risk of the filter's output against the clean speech, two ways, each a mean over the batch.

    A relative distance of compressed spectra |s|^0.3 e^{j phase}, magnitudes 0.7 and complex 0.3 (after
    Braun and Tashev, A consolidated view of loss functions for supervised deep learning-based speech
    enhancement, 2021), and the SDR in dB, negative, of the whole mixture.
    """
    mixture = batch.speech + batch.noise
    output, clean = wiener * mixture, batch.speech
    out_power, clean_power = power(output) + POWER_FLOOR, power(clean) + POWER_FLOOR
    out_size, clean_size = out_power ** (COMPRESSION / 2), clean_power ** (COMPRESSION / 2)
    magnitude = (out_size - clean_size).square()
    complex_ = power(output * (out_size * out_power.rsqrt()) - clean * (clean_size * clean_power.rsqrt()))
    scale = clean_size.square().mean((-2, -1), keepdim=True)
    distance = ((0.7 * magnitude + 0.3 * complex_) / scale).mean()
    error = power(output - clean).sum((-2, -1))
    sdr = 10 * torch.log10(clean_power.sum((-2, -1)) / (error + 1e-3 * clean_power.sum((-2, -1))))
    return distance, -sdr.mean()


def deviation_of(found: NoisyEncoding) -> torch.Tensor:
    """The deviation (B, N, F) of the speech's log-variance from the decoder's; 0 where there is none."""
    return torch.zeros_like(found.log_noise) if found.log_deviation is None else found.log_deviation


def training_loss(
    prior: Any, found: Any, batch: MixtureBatch, options: Options, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Means per frame: speech, latents, noise, deviation as loss_of, with the robust likelihood; the filter's
    risk beside them, in dB and as a distance.

    Where the network gives a spread, the latents' term includes the forward divergence KL(q_c || spread) from
    the clean frame's posterior q_c with the mean held fixed. Its optimum given the mean m is the variance
    E[s^2 + (m_c - m)^2], the actual uncertainty; the ELBO's own is E[s^2] alone (docs/noisy-encoder.md).
    """
    speech, noise = power(batch.speech), robust_nll(power(batch.noise), found.log_noise).mean()
    z, _ = found.posterior.rsample(1, generator)
    latents = found.posterior.kl().mean()
    if isinstance(found, CalibratedEncoding):
        with torch.no_grad():
            clean = prior.encode(speech)
            misfit = clean.log_variance.exp() + (clean.mean - found.posterior.mean).square()
        wide = found.spread.log_variance
        latents = latents + 0.5 * (misfit * torch.exp(-wide) + wide - clean.log_variance - 1).sum(-1).mean()
    deviation = deviation_of(found)
    log_speech = prior.decode(z)[:, 0] + deviation
    distance, sdr = filter_loss(torch.sigmoid(log_speech - found.log_noise), batch)
    terms = {
        "speech": robust_nll(speech, log_speech).mean(),
        "kl": latents,
        "noise": noise,
        "deviation": 0.5 * (deviation / DEVIATION).square().sum(-1).mean(),
        "distance": distance,
        "sdr": sdr,
    }
    total = terms["speech"] + terms["kl"] + options.noise_weight * terms["noise"] + terms["deviation"]
    return terms | {"loss": total + options.filter_weight * distance + options.sdr_weight * sdr}


def rate(options: Options, step: int) -> float:
    top = options.learning_rate * min(1.0, (step + 1) / options.warmup_steps)
    if options.decay_steps and step >= options.decay_from:
        return top * max(0.0, 1 - (step - options.decay_from) / options.decay_steps)
    return top


@torch.no_grad()
def validate(
    model: Any, prior: Any, batches: list[MixtureBatch], options: Options, seed: int, name: str
) -> dict[str, float]:
    """Terms of the loss, and the gain in SNR (dB) of v / (v + n) at the mean of q; as in
    training/noisy_encoder.py."""
    gains, inside, sums = [], [], {}
    for number, batch in enumerate(batches):
        mixture = power(batch.speech + batch.noise)
        found = model(mixture, torch.ones_like(mixture[..., 0]))
        for key, term in training_loss(
            prior, found, batch, options, torch_stream(seed, "valid", number)
        ).items():
            sums[key] = sums.get(key, 0.0) + float(term) / len(batches)
        log_speech = prior.decode(found.posterior.mean.unsqueeze(1))[:, 0] + deviation_of(found)
        wiener = torch.sigmoid(log_speech - found.log_noise)
        error = wiener * (batch.speech + batch.noise) - batch.speech
        energy = [power(x).sum((-2, -1)) + 1e-12 for x in (batch.noise, error)]
        with torch.no_grad():
            clean = prior.encode(power(batch.speech))
        wide = found.spread if isinstance(found, CalibratedEncoding) else found.posterior
        z_score = (clean.mean - wide.mean) * torch.exp(-0.5 * wide.log_variance)
        inside.append((z_score.abs() < 1.645).float().mean())  # 0.9 where the covariance is right
        gains.append(10 * torch.log10(energy[0] / energy[1]))
    values = sums | {"gain_db": float(torch.cat(gains).mean())}
    values["coverage"] = float(torch.stack(inside).mean())
    return {f"{name}_{key}": round(value, 4) for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--valid-pool", type=Path, required=True)
    parser.add_argument("--speech", nargs="+", required=True, help="FOLDER=WEIGHT")
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--native", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", help="noisy encoder to go on from, or auto: the one shipped with the prior")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds-limit", type=float, default=1e12, help="stop after so much processor time")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", action="extend")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Options)}
    values: dict[str, Any] = {}
    for setting in given.settings:
        key, _, text = setting.partition("=")
        values[key] = text.lower() == "true" if kinds[key] is bool else kinds[key](text)
    options = Options(**values)

    prior: Any = load_prior(given.prior, "cpu").requires_grad_(False)
    load = lambda folder: load_waveforms(scan(folder), prior.signal, given.cache)  # noqa: E731
    pairs = [text.rpartition("=") for text in given.speech]
    speech = [(load(folder), float(weight)) for folder, _, weight in pairs]
    pool = open_pool(given.pool)
    source = PoolMixtures(speech, pool, prior, options.seconds)
    old = MixtureSource(load(given.valid), prior, 4.0)
    new = PoolMixtures([(load(given.native), 1.0)], open_pool(given.valid_pool), prior, 4.0)
    valid = {
        name: [which.draw(0, "valid", number, VALID_SIZE) for number in range(VALID_BATCHES)]
        for name, which in (("old", old), ("new", new))
    }

    model = build(options, prior, given.seed)
    if given.start:
        folder = locate(given.prior) / "noisy_encoder" if given.start == "auto" else Path(given.start)
        model.load_state_dict(load_noisy_encoder(folder, prior).state_dict())
    average = copy.deepcopy(model).requires_grad_(False)
    steppers = optimisers(model, options)
    step, spent, history = 0, 0.0, []
    given.out.mkdir(parents=True, exist_ok=True)
    state = given.out / "state.pt"
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        for stepper, kept in zip(steppers, saved["optimisers"], strict=True):
            stepper.load_state_dict(kept)
        step, spent, history = saved["step"], saved["seconds"], saved["history"]
    elif not given.start:
        logs = []
        for number in range(STATISTICS_BATCHES):
            batch = source.draw(given.seed, "statistics", number, 16)
            logs.append(torch.log(power(batch.speech + batch.noise) + POWER_FLOOR).flatten(0, 1))
        for network in (model, average):
            network.set_statistics(torch.cat(logs).mean(0), torch.cat(logs).std(0))
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, step {step}",
        file=sys.stderr,
        flush=True,
    )
    sums: dict[str, float] = {}
    begun, drawing, count = time.process_time() - spent, 0.0, 0
    while step < given.steps and time.process_time() - begun < given.seconds_limit:
        before = time.process_time()
        batch = source.draw(given.seed, "train", step, options.batch)
        drawing += time.process_time() - before
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate(options, step)
        mixture = power(batch.speech + batch.noise)
        found = model(mixture, torch.ones_like(mixture[..., 0]))
        terms = training_loss(prior, found, batch, options, torch_stream(given.seed, "step", step))
        model.zero_grad()
        terms["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        if bool(torch.isfinite(norm)):
            for stepper in steppers:
                stepper.step()
        step += 1
        count += 1
        terms["norm"] = norm
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        decay = min(options.average, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        if step % options.every == 0:
            spent = time.process_time() - begun
            record = {"step": step, "seconds": round(spent, 1), "clock": time.strftime("%H:%M:%S")}
            record |= {f"train_{name}": round(value / count, 4) for name, value in sums.items()}
            record["draw_ms"] = round(1e3 * drawing / count)
            for name, batches in valid.items():
                record |= validate(average, prior, batches, options, 0, name)
            history.append(record)
            partial = given.out / "state.partial"
            torch.save(
                {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "step": step,
                    "seconds": spent,
                    "optimisers": [stepper.state_dict() for stepper in steppers],
                    "history": history,
                },
                partial,
            )
            os.replace(partial, state)
            export(average, prior, given, options, pool, source, history)
            with (given.out / "log.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(json.dumps(record), flush=True)
            sums, drawing, count = {}, 0.0, 0


def export(model: Any, prior: Any, given: Any, options: Options, pool: Any, source: Any, history: Any) -> None:
    training = {
        "options": dataclasses.asdict(options), "noise": "simulated", "seed": given.seed,
        "pool": {"seed": pool.seed, "items": len(pool), "classes": sorted(set(pool.names))},
        "mixtures": dataclasses.asdict(source.settings),
        "speech_hours": round(sum(len(w) for w, _ in source.speech) / prior.signal.rate / 3600, 2),
        "command": " ".join(sys.argv), "history": history, "seconds": history[-1]["seconds"],
    }  # fmt: skip
    save_noisy_encoder(model, prior, given.out / "export", training=training)


if __name__ == "__main__":
    main()
