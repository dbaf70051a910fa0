"""How far ahead a prior with memory knows speech: prediction of the next frames from the past alone.

    python eval/scripts/prediction.py ../data-more/valid/librispeech [PRIOR ...] > eval/results/prediction.md

The latents of 0.8 s of clean speech are those of the prior's posterior. From there on each latent is the mean
of p(z_n | ...) given the latents before it; priors that condition on the past of the speech receive their own
output. The table has the root mean square difference over bins, in dB, between the log-variance k frames ahead
and the one that the prior finds when it sees the speech; means over stretches of speech. `the last frame`
repeats the last log-variance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from holes import MARGIN, decoded, stretches

from vae_se.priors import load_prior
from vae_se.priors.dynamical import Dynamical
from vae_se.priors.dynamical.autoregressive import AutoRegressive

AHEAD = (1, 2, 4, 8, 16)
PRIORS = ("dkf", "dsae", "latent-rnn", "vrnn", "srnn")


@torch.no_grad()
def predicted(prior: Dynamical, power: torch.Tensor) -> torch.Tensor:
    """Log-variances (B, N, F) whose latents from frame MARGIN on are predicted; ``power`` (B, N, F)."""
    z = prior.encode(power).mean.clone()
    if isinstance(prior, AutoRegressive):
        return prior.roll_out(z, lambda n, mean, log_variance: z[:, n] if n < MARGIN else mean)[1]
    for n in range(MARGIN, z.shape[1]):
        moments = prior.moments_before(z[:, : n + 1])
        assert moments is not None
        z[:, n] = moments[0][:, n]
    return prior.decode(z[:, None])[:, 0]


def distances(found: torch.Tensor, known: torch.Tensor) -> list[float]:
    """Distance in dB of the frames AHEAD of the context."""
    error = (found - known).square().mean(-1).sqrt().mean(0) * 10 / np.log(10)
    return [float(error[MARGIN + k - 1]) for k in AHEAD]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("priors", nargs="*", default=PRIORS)
    parser.add_argument("--count", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    power = stretches(given.speech, load_prior("default"), given.count, max(AHEAD))[:, :-MARGIN]
    command = "python eval/scripts/prediction.py ../data-more/valid/librispeech"
    print(f"# Prediction of the next frames\n\n    {command}\n")
    print(f"{given.count} stretches of speech; distance in dB; the script's docstring says what is compared.\n")
    print("| prior | from |" + "".join(f" {16 * k} ms |" for k in AHEAD))
    print("|---|---|" + "---|" * len(AHEAD))
    for name in given.priors:
        prior = load_prior(name)
        known = decoded(prior, power)
        last = known[:, MARGIN - 1 : MARGIN].expand_as(known)
        rows = {"its dynamics": predicted(prior, power), "the last frame": last}
        for kind, found in rows.items():
            cells = "".join(f" {value:.1f} |" for value in distances(found, known))
            print(f"| `{name}` | {kind} |{cells}", flush=True)


if __name__ == "__main__":
    main()
