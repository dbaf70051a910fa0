"""Several starts, a short run from each, and the likeliest for every recording."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..numerics import POWER_FLOOR
from ..priors.posterior import GaussianPosterior
from ..rng import Streams
from .estep.vem_full import FullVariational
from .estep.vem_is import GaussianIS
from .target import Target

#: EM iterations of a trial: by then ``vem-full`` is where ``vem`` is after 40 (docs/inference.md).
TRIAL = 10
#: Draws that estimate the evidence of a trial.
DRAWS = 16


@dataclasses.dataclass(frozen=True)
class Start:
    """Where EM goes on from: the noise model's state, the gain (B, N), and q(z) of every frame."""

    noise: Any
    gain: torch.Tensor
    posterior: GaussianPosterior


def candidates(em: Any, number: int) -> list[Any]:
    """``number`` loops that differ in their starts: the loop itself, the same without its recognition
    network, with the noise model's other starts, and then itself again, with other random numbers."""
    found = [em]
    if em.noisy_encoder is not None:
        found.append(dataclasses.replace(em, noisy_encoder=None))
    other = em.noise.other_initialisations()
    found += [dataclasses.replace(em, noise=noise, noisy_encoder=None) for noise in other]
    return (found + [em] * number)[:number]


def likeliest(loops: list[Any], power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> Start:
    """The best end of a trial of each loop, recording by recording; ``power`` (B, N, F), ``mask`` (B, N).

    A trial is TRIAL iterations with the E-step ``vem-full``. Its worth is the importance-weighted bound on
    log p(x; W, H, g) with that E-step's Gaussian as proposal (Burda, Grosse and Salakhutdinov, Importance
    weighted autoencoders, 2016, eq. 8), DRAWS draws. All trials fit equally many parameters.
    """
    trials = [_trial(loop, power, mask, streams) for loop in loops]
    best = torch.stack([worth for _, worth in trials]).argmax(0)
    chosen: Start = _rows([start for start, _ in trials], best)
    return chosen


def _trial(loop: Any, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> tuple[Start, torch.Tensor]:
    """Where a short run ends, and its bound (B,) in nats per frame."""
    short = dataclasses.replace(loop, estep=FullVariational(), iterations=TRIAL, averaging=1, starts=1)
    state = short.run(power, mask, streams).state
    noise = short.noise.variance(state.noise)
    target = Target(short.prior, power + POWER_FLOOR, noise, state.gain, mask)
    kernel = dataclasses.replace(state.estep, steps=0)  # of the fit: its Gaussian is made anew
    kernel, info = GaussianIS(DRAWS).step(target, kernel, streams)
    variance = kernel.q.root.square().sum(-1)
    return Start(state.noise, state.gain, GaussianPosterior(kernel.q.mean, variance.log())), info.objective


def _rows(options: list[Any], choice: torch.Tensor) -> Any:
    """Row b of ``options[choice[b]]``, for tensors (B, ...) and dataclasses of them."""
    first = options[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(options)[choice, torch.arange(len(choice), device=choice.device)]
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        fields = {
            f.name: _rows([getattr(o, f.name) for o in options], choice) for f in dataclasses.fields(first)
        }
        return dataclasses.replace(first, **fields)
    return first
