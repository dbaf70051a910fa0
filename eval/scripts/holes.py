"""What a prior says about speech that was not received: holes of 50 to 300 ms in clean recordings.

    python eval/scripts/holes.py ../data-more/valid/librispeech NAME=PRIOR ... > eval/results/holes.md

In the frames of a hole the speech is replaced by white noise 30 dB above it, whose variance is known, so that
the evidence there is nil; elsewhere the noise is 60 dB below the speech. `vem` finds the latents of the hole
and of 0.8 s on either side (120 steps from a straight line across the hole; the variances are fixed). A prior
without memory then says N(0, I) inside the hole. The table has the root mean square difference, over the hole's
frames and bins, between the log-variance that is found and the one that the same prior finds without a hole, in
dB; means over stretches of speech.

Rows beside the priors: `last frame` repeats the log-variance of the frame before the hole, `line` draws a
straight line between the frames on either side (it sees as much as a smoother), and `noisy encoder` is the mean
of q(z | noisy recording) of the network beside `default`, which has never seen such holes. PRIOR is a name or a
folder; --count is the number of stretches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vae_se.config import Config
from vae_se.data.features import power_spectra, read_normalised
from vae_se.data.files import list_audio
from vae_se.inference.estep.vem import Variational
from vae_se.inference.target import Target
from vae_se.noisy_encoder.store import folder_beside, load_noisy_encoder
from vae_se.priors import load_prior
from vae_se.priors.store import locate
from vae_se.rng import Streams, numpy_stream

LENGTHS_MS = (50, 100, 200, 300)
MARGIN = 50  # frames on either side of a hole
STEPS, RATE, DRAWS = 120, 0.1, 1
BURST, QUIET = 1e3, 1e-6

#: Log-variances (B, N, F) of recordings with power (B, N, F) where the frames `hole` were not received.
Fill = Callable[[torch.Tensor, slice], torch.Tensor]


def with_hole(power: torch.Tensor, hole: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Power (B, N, F) with noise in place of the hole, and the variance of the noise."""
    noise = (QUIET * power.mean((1, 2), keepdim=True)).expand_as(power).clone()
    noise[:, hole] = BURST * power.mean(1, keepdim=True)
    burst = torch.empty_like(power[:, hole]).exponential_(generator=torch.Generator().manual_seed(0))
    received = power.clone()
    received[:, hole] = noise[:, hole] * burst
    return received, noise


def across(values: torch.Tensor, hole: slice, line: bool = True) -> torch.Tensor:
    """`values` (B, N, D) with a straight line across the hole, or with the last frame before it repeated."""
    filled = values.clone()
    before, after = (values[:, at : at + 1] for at in (hole.start - 1, hole.stop))
    part = torch.linspace(0, 1, hole.stop - hole.start + 2)[1:-1, None] if line else torch.zeros(1, 1)
    filled[:, hole] = before + part * (after - before)
    return filled


def smoother(prior) -> Fill:
    """The log-variance at the mean of the Gaussian that `vem` finds."""

    @torch.no_grad()
    def fill(power: torch.Tensor, hole: slice) -> torch.Tensor:
        received, noise = with_hole(power, hole)
        ones = torch.ones(received.shape[:2])
        target = Target(prior, received, noise, ones, ones)
        streams = Streams.from_seed(0, range(len(power)), [power.shape[1]] * len(power))
        kernel = Variational(draws=DRAWS, learning_rate=RATE)
        state = kernel.init(target, across(torch.log(power + 1e-8), hole).exp(), streams)
        for _ in range(STEPS):
            state, _ = kernel.step(target, state, streams)
        return prior.decode(state.parameters[0][:, None], ones)[:, 0]

    return fill


def simple(prior, line: bool) -> Fill:
    """The last frame repeated, or a straight line across the hole, in log-variances."""
    return lambda power, hole: across(decoded(prior, power), hole, line)


def proposed(prior, network) -> Fill:
    """The decoder at the mean of q(z | noisy recording)."""

    @torch.no_grad()
    def fill(power: torch.Tensor, hole: slice) -> torch.Tensor:
        received, _ = with_hole(power, hole)
        encoding = network(received, torch.ones(received.shape[:2]))
        return prior.decode(encoding.posterior.mean[:, None])[:, 0]

    return fill


@torch.no_grad()
def decoded(prior, power: torch.Tensor) -> torch.Tensor:
    """The log-variance (B, N, F) that a prior finds for clean speech."""
    ones = torch.ones(power.shape[:2])
    return prior.decode(prior.encode(power, ones).mean[:, None], ones)[:, 0]


def stretches(folder: Path, prior, count: int, frames: int) -> torch.Tensor:
    """Power spectra (B, N, F) of `count` stretches of as many recordings, drawn with a seed.

    The middle `frames` have a mean level within 10 dB of the recording's; MARGIN frames are on either side.
    """
    paths, found = list_audio(folder), []
    for at in numpy_stream(0, "holes").permutation(len(paths)):
        wave = read_normalised(folder / paths[at], prior.signal)
        if not 3 * prior.signal.rate <= wave.size <= 8 * prior.signal.rate:
            continue
        power = torch.from_numpy(power_spectra(wave, prior.signal))
        level = power.sum(-1)
        draws = numpy_stream(len(found), "hole", frames).permutation(len(power) - frames - 2 * MARGIN)
        loud = (k for k in draws + MARGIN if level[k : k + frames].mean() > 0.1 * level.mean())
        if (start := next(loud, None)) is not None:
            found.append(power[start - MARGIN : start + frames + MARGIN])
        if len(found) == count:
            break
    return torch.stack(found)


def distance(prior, fill: Fill, power: torch.Tensor) -> float:
    """Mean over recordings of the distance in dB between the hole as filled and as it was."""
    hole = slice(MARGIN, power.shape[1] - MARGIN)
    error = (fill(power, hole) - decoded(prior, power))[:, hole]
    return float(error.square().mean((1, 2)).sqrt().mean()) * 10 / np.log(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("priors", nargs="+")
    parser.add_argument("--count", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = load_prior("default")
    network = load_noisy_encoder(folder_beside(locate(Config().prior)), base)
    hops = [round(ms / 1000 * base.signal.rate / base.signal.hop) for ms in LENGTHS_MS]
    sets = [stretches(given.speech, base, given.count, frames) for frames in hops]
    named = [text.partition("=")[::2] for text in given.priors]
    fills = {name: (prior := load_prior(folder or name), smoother(prior)) for name, folder in named}
    fills |= {
        "last frame": (base, simple(base, line=False)),
        "line": (base, simple(base, line=True)),
        "noisy encoder": (base, proposed(base, network)),
    }
    print(f"{given.count} stretches of speech; distance in dB\n")
    print("| |" + "".join(f" {ms} ms |" for ms in LENGTHS_MS))
    print("|---|" + "---|" * len(LENGTHS_MS))
    for name, (prior, fill) in fills.items():
        print(f"| {name} |" + "".join(f" {distance(prior, fill, power):.1f} |" for power in sets), flush=True)


if __name__ == "__main__":
    main()
