"""Cost of a roll-out: decoding step by step, compared with all steps at once given the true past.

    python eval/scripts/rollout.py

Decodes five seconds of latents with each prior with memory, untrained (the time does not depend on the
weights), with and without the gradient with respect to the latents: best of five, one thread. The last column
is the same roll-out differentiated by autograd, a node for each operation of each frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from vae_se.priors import PRIORS

FRAMES, TIMES = 313, 5


def best(run: Callable[[], Any]) -> float:
    """Best time of the processor in milliseconds."""
    found = []
    for _ in range(TIMES):
        started = time.process_time()
        run()
        found.append(1e3 * (time.process_time() - started))
    return min(found)


def given(prior: Any, features: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Decode all steps at once."""
    log_variance: torch.Tensor = prior.given(z[0], features)[0]
    return log_variance


def decode(prior: Any, z: torch.Tensor) -> torch.Tensor:
    """Decode step by step."""
    log_variance: torch.Tensor = prior.decode(z)
    return log_variance


def by_autograd(prior: Any, z: torch.Tensor) -> torch.Tensor:
    """The roll-out as a loop that autograd differentiates."""
    log_variance: torch.Tensor = prior.roll_out(z[0], lambda n, mean, log_variance: z[0, :, n])[1]
    return log_variance


def forward(run: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> None:
    """Decoding without gradient."""
    with torch.no_grad():
        run(z)


def gradient(run: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> None:
    """Decoding and backpropagation to the latents."""
    leaf = z.detach().requires_grad_()
    torch.autograd.grad(run(leaf).sum(), leaf)


def main() -> None:
    """Print the table in Markdown."""
    torch.set_num_threads(1)
    print("| prior | at once (ms) | with gradient | rolled out | with gradient | by autograd, with gradient |")
    print("|---|---|---|---|---|---|")
    for name in ("dkf", "dsae", "rvae", "storn", "vrnn", "srnn"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            prior: Any = PRIORS[name]().requires_grad_(False)
            z = torch.randn(1, 1, FRAMES, prior.latent_dim)
        features = torch.zeros(1, FRAMES, prior.signal.stft.bins)
        at_once = partial(given, prior, features)
        cells = [best(partial(forward, at_once, z)), best(partial(gradient, at_once, z))]
        if hasattr(prior, "roll_out"):
            cells += [best(partial(forward, partial(decode, prior), z))]
            cells += [
                best(partial(gradient, run, z)) for run in (partial(decode, prior), partial(by_autograd, prior))
            ]
        print(f"| `{name}` | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |" * (6 - len(cells)))


if __name__ == "__main__":
    main()
