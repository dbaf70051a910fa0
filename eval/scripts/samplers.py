"""All E-steps on one posterior: python eval/scripts/samplers.py [--seconds 1.5] [--reference 400]

EM runs once with the defaults on the example. With its parameters held fixed, every kernel draws the latents
of the same frames. The reference is random-walk Metropolis-Hastings with many sweeps. Prints per kernel: the
error of the posterior-mean filter (root mean square over frames and bins), the effective number of draws per
frame (of the mean filter gain of the frame, over chains and E-steps), the same per second of computation and
second of audio, and the computation time. Times are processor times of one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import soundfile
import torch

from vae_se.assemble import build_em
from vae_se.audio.level import active_rms
from vae_se.config import Config
from vae_se.inference.convergence import effective_draws, split_rhat
from vae_se.inference.estep import ESTEPS
from vae_se.inference.target import Target
from vae_se.inference.wiener import filter_moments
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import load_prior
from vae_se.rng import Streams

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "noisy.wav"
#: Label, kernel, settings, E-steps of burn-in.
ROWS: list[tuple[str, str, dict[str, Any], int]] = [
    ("map", "map", {"steps": 4}, 40),
    ("vem", "vem", {}, 80),
    ("vem-encoder", "vem-encoder", {}, 80),
    ("vem-full", "vem-full", {}, 30),
    ("encoder-is", "encoder-is", {}, 40),
    ("encoder-mh", "encoder-mh", {}, 40),
    ("mh", "mh", {}, 60),
    ("langevin, step 0.05", "langevin", {"draws": 4, "sweeps": 4, "step_size": 0.05}, 40),
    (
        "langevin, preconditioned",
        "langevin",
        {"draws": 4, "sweeps": 4, "step_size": 0.3, "precondition": True},
        40,
    ),
    ("mala", "mala", {"draws": 4}, 40),
    ("mala, preconditioned", "mala", {"draws": 4, "precondition": True}, 40),
    ("vem-is", "vem-is", {}, 30),
    ("vem-mh", "vem-mh", {}, 40),
]


def posterior(seconds: float, prior: Any) -> tuple[Target, torch.Tensor]:
    """The target at the parameters that EM finds, and the input of the encoder."""
    samples, _ = soundfile.read(EXAMPLE)
    samples = samples[: round(seconds * prior.signal.rate)] / active_rms(samples, prior.signal.rate)
    spectrum = prior.signal.stft.analyse(torch.from_numpy(samples).float())
    power = spectrum.abs().square().unsqueeze(0)
    mask = torch.ones(power.shape[:2])
    em = build_em(Config(), prior)
    state = em.run(power, mask, streams(power, "em")).state
    power = power + POWER_FLOOR
    target = Target(prior, power, em.noise.variance(state.noise), state.gain, mask)
    return target, torch.maximum(power - target.noise, em.encoder_floor * power)


def streams(power: torch.Tensor, name: str) -> Streams:
    """The random streams of one kernel."""
    return Streams.from_seed(0, [name], [power.shape[1]])


@dataclasses.dataclass
class Run:
    """The result of a kernel.

    The filter (1, N, F), its posterior variance due to the latents, its mean over bins along the chains
    (R, steps, N), the mean effective sample size of the weights, and the computation time in seconds.
    """

    filter: torch.Tensor
    variance: torch.Tensor
    values: torch.Tensor
    weights: float
    seconds: float


@torch.no_grad()
def run(name: str, settings: dict[str, Any], target: Target, shown: torch.Tensor, burn: int, steps: int) -> Run:
    """Run ``burn`` E-steps for burn-in, then ``steps`` E-steps."""
    kernel, source = ESTEPS[name](**settings), streams(target.power, name)
    state = kernel.init(target, shown, source)
    moments, values, weights, seconds = None, [], [], 0.0
    for number in range(burn + steps):
        started = time.process_time()
        state, _ = kernel.step(target, state, source)
        if number >= burn:
            seconds += time.process_time() - started
            draws = state.draws
            found = filter_moments(target, draws)
            moments = found if moments is None else moments + found
            speech = target.speech_variance(draws.log_variance)
            values.append((speech / (speech + target.noise.unsqueeze(1))).mean(-1)[0])
            weights.append(draws.effective_sample_size().mean().item())
    variance = moments.second / moments.steps - moments.mean().square()
    return Run(moments.mean(), variance, torch.stack(values, 1), sum(weights) / len(weights), seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="of the example")
    parser.add_argument("--reference", type=int, default=400, help="E-steps of 10 sweeps of the reference")
    parser.add_argument("--steps", type=int, default=100, help="E-steps of each kernel that count")
    parser.add_argument("--only", nargs="*", help="these kernels and no others")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior("default")
    target, shown = posterior(options.seconds, prior)
    long = {"draws": 8, "sweeps": 10, "adaptation": options.reference // 2}
    half = options.reference // 2
    reference = run("mh", long, target, shown, half, half)
    mixed = split_rhat(reference.values)
    count = effective_draws(reference.values).mean().item()
    deviation = reference.variance.mean().sqrt().item()
    print(f"{target.power.shape[1]} frames; reference: {half} E-steps of 10 sweeps, 8 chains, after as many;")
    print(
        f"its R-hat: median {mixed.median():.2f}, 95 % of frames below {mixed.quantile(0.95):.2f};\n"
        f"its effective draws: {count:.0f} a frame; the filter's posterior deviation: {deviation:.3f},\n"
        f"hence an error of about {deviation / count**0.5:.3f}\n"
    )
    print(
        "| kernel | draws x E-steps | filter error | R-hat | effective draws | per second | s per s, E-step |"
    )
    print("|---|---|---|---|---|---|---|")
    for label, name, settings, burn in ROWS:
        if options.only and name not in options.only:
            continue
        steps = options.steps
        made = run(name, settings, target, shown, burn, steps)
        error = (made.filter - reference.filter).square().mean().sqrt().item()
        draws = made.values.shape[0]
        chains = name in ("mh", "encoder-mh", "langevin", "mala", "vem-mh")
        effective = effective_draws(made.values).mean().item() if chains else made.weights * steps
        mixing = split_rhat(made.values).median().item()
        rhat = "" if not chains else f"{mixing:.2f}" if mixing < 10 else "above 10"
        rate = effective / made.seconds * options.seconds
        cost = made.seconds / steps / options.seconds
        row = [
            label,
            f"{draws} x {steps}",
            f"{error:.4f}",
            rhat,
            f"{effective:.0f}",
            f"{rate:.0f}",
            f"{cost:.4f}",
        ]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
