"""Two likelihoods of the same spectra: each prior scored under both.

    python eval/prior_training/likelihoods.py ../shared/data/speech/valid > eval/results/likelihoods.md

The shipped `ffvae` was trained with the complex Gaussian, `ffvae-squared-error` with a Gaussian on log-power
of equal variance. Each is scored under both likelihoods: negative ELBO per frame, one draw, every tenth
validation frame. The difference is also shown by the ratio of the power |s|^2 of a bin to the decoder's
variance v.
"""

from __future__ import annotations

import argparse
import itertools
import platform
from pathlib import Path
from typing import Any

import torch

from vae_se.data.corpus import scan
from vae_se.data.features import FrameSet, load_features
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import load_prior
from vae_se.priors.frame import complex_gaussian_nll
from vae_se.priors.squared_error import log_normal_nll
from vae_se.rng import torch_stream

PRIORS = ("ffvae", "ffvae-squared-error")
LIKELIHOODS = {"complex Gaussian": complex_gaussian_nll, "Gaussian on log-power": log_normal_nll}
EDGES = (-20.0, -10.0, 0.0, 5.0, 10.0, 20.0)  # dB


def shares(ratio: torch.Tensor) -> list[float]:
    """Percentages of log(|s|^2 / v) in the intervals between the edges."""
    edges = torch.tensor(EDGES) * torch.log(torch.tensor(10.0)) / 10
    counts = torch.bincount(torch.bucketize(ratio.flatten(), edges), minlength=len(EDGES) + 1)
    return (100 * counts / counts.sum()).tolist()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("valid", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames = FrameSet.of(load_features(scan(arguments.valid), load_prior(PRIORS[0]).signal, None))
    power = torch.from_numpy(frames.gather(slice(None, None, 10))).unsqueeze(0)
    floored = power + POWER_FLOOR
    lines, tails = [], {}
    for name in PRIORS:
        prior: Any = load_prior(name)
        result = prior.reconstruct(power, torch_stream(0, "likelihoods"))
        kl = result.kl.sum(-1).mean()
        costs = [float(nll(power, result.log_variance).mean() + kl) for nll in LIKELIHOODS.values()]
        lines.append(f"| `{name}` | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |")
        tails[f"`{name}`"] = shares(torch.log(floored) - result.log_variance)
    generator = torch_stream(0, "exponential")
    exact = torch.log(-torch.log1p(-torch.rand(10**6, generator=generator)))
    tails["exact variance"] = shares(exact)
    print("# Two likelihoods of the same spectra\n")
    print(f"    python eval/prior_training/likelihoods.py {arguments.valid} > eval/results/likelihoods.md\n")
    print(f"{power.shape[1]} frames; negative ELBO per frame in nats, less F log pi; seed 0; "
          f"{platform.machine()}, torch {torch.__version__}.\n")  # fmt: skip
    print("| trained as | " + " | ".join(LIKELIHOODS) + " |\n|---|---|---|")
    print("\n".join(lines))
    print("\nPercentage of bins by |s|^2 / v in dB:\n")
    titles = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(EDGES)]
    print(f"| | under {EDGES[0]:g} | " + " | ".join(titles) + f" | over {EDGES[-1]:g} |")
    print("|---" * (len(EDGES) + 2) + "|")
    for name, values in tails.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")


if __name__ == "__main__":
    main()
