"""What hearing oneself costs: a roll-out, step by step, against all steps at once with the speech's past.

    python eval/scripts/rollout.py

Five seconds of latents through each prior with memory, untrained (the time does not depend on the weights):
decoding, and decoding with the gradient by the latents, the best of five, one thread. The last column is the
same roll-out by TorchScript, traced.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from vae_se.priors import PRIORS

FRAMES, TIMES = 313, 5


def best(run: Callable[[], Any]) -> float:
    """Milliseconds."""
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - started))
    return min(found)


def gradient(decode: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> None:
    """Backwards through the whole decoder."""
    leaf = z.detach().requires_grad_()
    torch.autograd.grad(decode(leaf).sum(), leaf)


def main() -> None:
    """Print the table, Markdown."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the tracer: it is deprecated
    print("| prior | at once (ms) | with gradient | rolled out | with gradient | TorchScript, with gradient |")
    print("|---|---|---|---|---|---|")
    for name in ("dkf", "dsae", "rvae", "storn", "vrnn", "srnn"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            prior: Any = PRIORS[name]().requires_grad_(False)
            z = torch.randn(1, 1, FRAMES, prior.latent_dim)
        features = torch.zeros(1, FRAMES, prior.signal.stft.bins)

        def given(z: torch.Tensor, prior: Any = prior, features: torch.Tensor = features) -> torch.Tensor:
            eta: torch.Tensor = prior.given(z[0], features)[0]
            return eta

        with torch.no_grad():
            cells = [best(lambda z=z, given=given: given(z))]
        cells.append(best(lambda z=z, given=given: gradient(given, z)))
        if hasattr(prior, "roll_out"):
            with torch.no_grad():
                cells.append(best(lambda z=z, prior=prior: prior.decode(z)))
                traced = torch.jit.trace(lambda z, prior=prior: prior.decode(z), z, check_trace=False)
            cells.append(best(lambda z=z, prior=prior: gradient(prior.decode, z)))
            cells.append(best(lambda z=z, traced=traced: gradient(traced, z)))
        print(f"| `{name}` | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |" * (6 - len(cells)))


if __name__ == "__main__":
    main()
