"""Simulation-based calibration of the E-step kernels.

    python eval/scripts/simulation_based_calibration.py

Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
calibration, 2018. Latents z, noise W H and gain are drawn from their priors and x from the model, in every
frame anew. A kernel then draws from p(z | x) at the known W H and gain. If it is exact, the rank of the true
value among the draws is uniform, for every latent and for the log-likelihood (a function of z that depends on
x, as Modrak et al., Simulation-based calibration checking for Bayesian computation: the choice of test
quantities shapes sensitivity, 2023, recommend). The prior is a small random network, in double precision. One
kernel is wrong on purpose and must be rejected. Writes eval/results/sbc.csv and .md. Takes half a minute on one
idle core.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from scipy.stats import chi2

from vae_se.inference.estep import ESTEPS, vem_mh
from vae_se.inference.target import Target
from vae_se.priors import PRIORS, SignalSpec
from vae_se.priors.base import SpeechPrior
from vae_se.rng import Streams
from vae_se.storage.atomic import write_atomically

RESULTS = Path(__file__).resolve().parents[1] / "results"
FRAMES, DRAWS, LATENTS, RANK = 400, 15, 3, 2
#: Label, kernel, settings, E-steps. The state after the last one counts; chains start at different draws, so
#: their last states are independent.
KERNELS: list[tuple[str, str, dict[str, Any], int]] = [
    ("mh", "mh", {"sweeps": 5, "adaptation": 20}, 60),
    ("langevin, small steps", "langevin", {"sweeps": 8, "step_size": 0.15}, 40),
    ("mala", "mala", {"sweeps": 3, "adaptation": 15}, 50),
    ("mala, preconditioned", "mala", {"sweeps": 3, "adaptation": 15, "precondition": True}, 30),
    ("vem-mh", "vem-mh", {"sweeps": 3, "adaptation": 15, "warmup": 10}, 45),
    ("encoder-mh", "encoder-mh", {"sweeps": 5, "adaptation": 15}, 50),
    ("encoder-is", "encoder-is", {"draws": 150}, 12),
    ("vem-is", "vem-is", {"draws": 400}, 12),
    ("vem", "vem", {}, 60),
    ("vem-full", "vem-full", {}, 15),
    ("vem-encoder", "vem-encoder", {}, 60),
]
#: The wrong kernel, and the one that it is without the density of its proposal in the acceptance.
WRONG, RIGHT = "vem-mh, wrong on purpose", "vem-mh"
EXACT = ("mh", "mala", "mala, preconditioned", "vem-mh", "encoder-mh")
#: Importance samples, exact in the limit of many draws.
LIMIT = ("encoder-is", "vem-is")


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Frames drawn from the model, and the latents (1, 1, N, L) that they were drawn from."""

    target: Target
    z: torch.Tensor


def small_prior() -> SpeechPrior:
    """A random ffvae of :data:`LATENTS` latents, on whose spectra the latents have much influence."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS["ffvae"](hidden=(8, 16), latent_dim=LATENTS, signal=SignalSpec(window=64, hop=16))
    prior = prior.double().eval().requires_grad_(False)
    with torch.no_grad():
        prior.output.weight.mul_(1.3)
    return prior


@torch.no_grad()
def simulate(frames: int = FRAMES, seed: int = 0) -> Simulation:
    """Draw latents, noise and gain from their priors, and x from the model."""
    generator, prior = torch.Generator().manual_seed(seed), small_prior()
    bins = prior.signal.stft.bins

    def exponential(*shape: int) -> torch.Tensor:
        return -torch.log1p(-torch.rand(*shape, generator=generator, dtype=torch.float64))

    z = torch.randn(1, 1, frames, LATENTS, generator=generator, dtype=torch.float64)
    noise = (exponential(frames, RANK) @ exponential(RANK, bins)).unsqueeze(0) * 0.3
    gain = 0.5 + exponential(1, frames)
    variance = gain.unsqueeze(-1) * prior.decode(z)[:, 0].exp() + noise
    return Simulation(
        Target(prior, exponential(*variance.shape) * variance, noise, gain, torch.ones(1, frames)), z
    )


@torch.no_grad()
def ranks(kernel: Any, simulation: Simulation, steps: int, seed: int = 1) -> torch.Tensor:
    """Rank of the truth among the draws, from 0 to 1, (N, L + 1): of the latents and of the log-likelihood."""
    target, streams = simulation.target, Streams([torch.Generator().manual_seed(seed)], [simulation.z.shape[2]])
    state = kernel.init(target, target.less_noise(0.05), streams)
    for _ in range(steps):
        state, _ = kernel.step(target, state, streams)
    draws = state.draws

    def values(z: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        return torch.cat([z, target.log_likelihood(log_variance).unsqueeze(-1)], -1)[0]

    drawn = values(draws.z, draws.log_variance)
    true = values(simulation.z, target.decode(simulation.z))
    weight = draws.log_weight.exp()[0].unsqueeze(-1)
    return (weight * (drawn < true)).sum(0)


def p_value(rank: torch.Tensor, draws: int = DRAWS) -> float:
    """Smallest p-value of chi-square tests of uniformity of each column, times their number (Bonferroni)."""
    place = (rank * (draws + 1)).long().clamp(0, draws)
    expected, lowest = len(rank) / (draws + 1), 1.0
    for column in place.T:
        counts = torch.bincount(column, minlength=draws + 1).double()
        lowest = min(lowest, float(chi2.sf(float(((counts - expected) ** 2 / expected).sum()), draws)))
    return min(1.0, lowest * rank.shape[1])


@contextlib.contextmanager
def without_proposal_density() -> Iterator[None]:
    """Inside, ``vem-mh`` accepts moves as if its proposal were symmetric, which it is not."""
    with mock.patch.object(vem_mh, "_log_weight", lambda chains, epsilon: chains.log_joint):
        yield


@dataclasses.dataclass(frozen=True)
class Row:
    """One kernel: smallest p-value, and the variance of the ranks of the latents over that of uniform ranks."""

    kernel: str
    exact: str
    p: float
    spread: float
    seconds: float


def row_of(label: str, simulation: Simulation) -> Row:
    """The test of a kernel of :data:`KERNELS`, or of the wrong one."""
    wrong, started = label == WRONG, time.perf_counter()
    ((name, settings, steps),) = (row[1:] for row in KERNELS if row[0] == (RIGHT if wrong else label))
    kernel = ESTEPS[name](**{"draws": DRAWS} | settings)
    with without_proposal_density() if wrong else contextlib.nullcontext():
        rank = ranks(kernel, simulation, steps)
    uniform = (1 + 2 / DRAWS) / 12 if kernel.draws == DRAWS else 1 / 12
    spread = float(rank[:, :-1].var()) / uniform
    exact = "yes" if label in EXACT else "in the limit" if label in LIMIT else "no"
    return Row(label, exact, p_value(rank), spread, time.perf_counter() - started)


def as_csv(rows: list[Row]) -> str:
    """One line a kernel; the times are left out."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kernel", "exact", "p", "spread"])
    writer.writerows([row.kernel, row.exact, f"{row.p:.2g}", f"{row.spread:.2f}"] for row in rows)
    return out.getvalue()


def as_markdown(rows: list[Row], frames: int) -> str:
    """The table with its explanation."""
    lines = [
        "# Simulation-based calibration of the E-steps",
        "",
        "    python eval/scripts/simulation_based_calibration.py",
        "",
        f"{frames} frames drawn from a small model, the rank of the truth among {DRAWS} draws (weighted for",
        "importance samples). p: smallest p-value of chi-square tests of uniformity over the latents and the",
        "log-likelihood, times their number. Spread: variance of the ranks of the latents over that of uniform",
        "ranks; above 1, the draws are too narrow. Importance samples are exact in the limit of many draws:",
        "`encoder-is` has 150 here and `vem-is` 400. The last kernel is wrong on purpose: `vem-mh` without the",
        "density of its proposal in the acceptance ratio.",
        "",
        "| kernel | exact | p | spread of the ranks |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(f"| {row.kernel} | {row.exact} | {row.p:.2g} | {row.spread:.2f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Test all kernels and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    simulation, rows = simulate(given.frames), []
    for label in [*(row[0] for row in KERNELS), WRONG]:
        rows.append(row_of(label, simulation))
        print(rows[-1], file=sys.stderr, flush=True)
    write_atomically(given.out / "sbc.csv", as_csv(rows).encode())
    write_atomically(given.out / "sbc.md", as_markdown(rows, given.frames).encode())


if __name__ == "__main__":
    main()
