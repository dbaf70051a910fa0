"""Several initialisations: a short run of EM from each, then the best one for every recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch

from ..priors.posterior import GaussianPosterior
from ..rng import Streams
from .averaging import averaged_filter
from .em import Model, init, step
from .estep.vem_full import FullState, FullVariational
from .estep.vem_is import GaussianIS
from .initialisation import Start

#: EM iterations of a trial. Its E-step, ``vem-full``, is by then as far as ``vem`` after 40.
TRIAL = 10
#: Draws that estimate the bound of a trial.
DRAWS = 16

ModelT = TypeVar("ModelT", bound=Model)


def candidates(model: ModelT, number: int) -> list[ModelT]:
    """``number`` models that differ in where EM starts.

    First comes ``model`` itself, then the same without its noisy encoder, then the noise model's other
    initialisations, then ``model`` again, which starts from other random numbers.
    """
    found = [model]
    if model.noisy_encoder is not None:
        found.append(dataclasses.replace(model, noisy_encoder=None))
    others = model.noise.other_initialisations()
    found += [dataclasses.replace(model, noise=noise, noisy_encoder=None) for noise in others]
    return (found + [model] * number)[:number]


def best_start(models: Sequence[Model], power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> Start:
    """For every recording, the end of the trial with the highest bound; ``power`` (B, N, F), ``mask`` (B, N).

    A trial is TRIAL iterations with the E-step ``vem-full``. Its bound is the importance-weighted bound on
    log p(x; W, H, g) with DRAWS draws from the Gaussian of that E-step (Burda, Grosse and Salakhutdinov,
    Importance weighted autoencoders, 2016). All trials fit the same number of parameters.
    """
    trials = [_trial(model, power, mask, streams) for model in models]
    best = torch.stack([bound for _, bound in trials]).argmax(0)
    chosen: Start = _rows([start for start, _ in trials], best)
    return chosen


def _trial(
    model: Model, power: torch.Tensor, mask: torch.Tensor, streams: Streams
) -> tuple[Start, torch.Tensor]:
    """Where a short run ends, and its bound (B,) in nats per frame."""
    model = dataclasses.replace(model, estep=FullVariational(), context_weight=0.0)
    state = init(model, power, mask, streams)
    for _ in range(TRIAL):
        state, _ = step(model, power, mask, state, streams)
    # A trial ends like every run, so hidden variables of the noise fit the final parameters.
    state = averaged_filter(model, power, mask, state, streams, averaging=1).state
    # With ``steps`` = 0 the kernel computes its Gaussian anew, at the final parameters.
    fit = dataclasses.replace(cast(FullState, state.estep), steps=0)
    fit, info = GaussianIS(DRAWS).step(model.target(power, mask, state), fit, streams)
    variance = fit.q.root.square().sum(-1)
    return Start(state.noise, state.gain, GaussianPosterior(fit.q.mean, variance.log())), info.objective


def _rows(options: Sequence[Any], choice: torch.Tensor) -> Any:
    """Row b of ``options[choice[b]]``, for tensors (B, ...) and dataclasses of them."""
    first = options[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(list(options))[choice, torch.arange(len(choice), device=choice.device)]
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        fields = {
            f.name: _rows([getattr(o, f.name) for o in options], choice) for f in dataclasses.fields(first)
        }
        return dataclasses.replace(first, **fields)
    return first
