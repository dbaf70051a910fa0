"""The factors of the noise of a stream: one M-step per block, over a window that moves."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..blocks import mean_over_draws
from ..errors import UsageError
from ..likelihood import itakura_saito
from ..numerics import TINY, VARIANCE_FLOOR
from ..rng import Streams
from .base import NoiseModel
from .multiplicative import NMFState, product

#: Frames of the window: 1.5 s at a hop of 16 ms.
FRAMES = 96

#: The spectra are fitted to the variance that the noisy encoder proposes until the stream has this many frames.
FITTED_FRAMES = 32

#: Divergence of a frame's proposed variance from W H, in nats per bin, from which the spectra are fitted to the
#: proposed variances again: a noise has begun that was not there before. The median of frames is 0.7.
NEW = 1.5

#: Blocks per M-step of the spectra, which change slowly.
BLOCKS = 4

#: Updates of that fit in each block.
UPDATES = 5

#: Updates that fit the activations of a new block.
ACTIVATION_UPDATES = 3


@dataclasses.dataclass(frozen=True)
class _Window:
    """The last frames, at the power scale of the last block: factors, power |x|^2 (B, N, F), the variance of
    the noise that was proposed (B, N, F) and that of the speech (B, 1, N, F), up to the last block."""

    factors: NMFState
    power: torch.Tensor
    proposed: torch.Tensor
    speech: torch.Tensor
    level: float


class MovingWindow:
    """Incremental EM for W and H (Neal and Hinton, A view of the EM algorithm that justifies incremental,
    sparse, and other variants, 1998).

    :meth:`begin` takes a block of frames, whose activations start at a fit to the variance that a noisy encoder
    proposes. :meth:`refine` updates them given draws of the speech. :meth:`end` keeps the speech variance of
    the block and, after every fourth block, runs one M-step over the window, in which the speech of earlier
    frames stays as it was estimated. In the first half second, and where a noise begins that W H cannot
    describe, the spectra are fitted to the proposed variances.

    ``model``: a noise model whose state is a factorisation; UsageError for any other. ``name`` and ``seed``
    select the random numbers of its start.
    """

    def __init__(self, model: NoiseModel[Any], seed: int, name: str) -> None:
        self._model, self._seed, self._name = model, seed, name
        self._window: _Window | None = None
        self._received = self._blocks = 0

    @property
    def variance(self) -> torch.Tensor:
        """W H of the block, (B, n, F)."""
        return product(self._block_factors())

    @property
    def activations(self) -> torch.Tensor:
        """H of the block, (B, n, K)."""
        return self._block_factors().h

    def begin(self, power: torch.Tensor, proposed: torch.Tensor, level: float) -> None:
        """Take the next frames: power and proposed noise variance (B, n, F).

        ``level``: the power that both were divided by.
        """
        self._received += power.shape[1]
        before = self._window
        if before is None:
            factors = self._start(power)
            window = _Window(factors, power, proposed, torch.zeros_like(power).unsqueeze(1), level)
        else:
            ratio = before.level / level
            h = fitted_activations(before.factors.w[0], proposed[0]).unsqueeze(0)
            window = _Window(
                NMFState(before.factors.w, _follow(before.factors.h * ratio, h, 1)),
                _follow(before.power * ratio, power, 1),
                _follow(before.proposed * ratio, proposed, 1),
                _follow(before.speech * ratio, torch.zeros_like(power).unsqueeze(1), 2),
                level,
            )
        if self._received <= FITTED_FRAMES or self._is_new(window, proposed):
            silence = torch.zeros_like(window.speech)
            factors = self._update(window.factors, window.proposed, silence, UPDATES)
            window = dataclasses.replace(window, factors=factors)
        self._window, self._new = window, power.shape[1]

    def _is_new(self, window: _Window, proposed: torch.Tensor) -> bool:
        """Whether the spectra fail to describe the proposed variance (1, n, F) of a frame of the block."""
        factors = NMFState(window.factors.w, window.factors.h[:, -proposed.shape[1] :])
        return bool((itakura_saito(proposed, product(factors)).mean(-1) > NEW).any())

    def refine(self, speech: torch.Tensor) -> None:
        """Update the activations of the block, given the speech variance (R, n, F) under draws of equal
        weight."""
        window, block = self._current(), self._block_factors()
        h = step_of_activations(block.w[0], block.h[0], window.power[0, -self._new :], speech)
        window.factors.h[0, -self._new :] = h

    def end(self, speech: torch.Tensor) -> None:
        """Keep the mean of the speech variance (R, n, F) of the block; after every fourth block, update spectra
        and activations of the window."""
        window = self._current()
        window.speech[0, 0, -self._new :] = mean_over_draws(speech)
        self._blocks += 1
        if self._blocks % BLOCKS:
            return
        factors = self._update(window.factors, window.power, window.speech, 1)
        self._window = dataclasses.replace(window, factors=factors)

    def _start(self, power: torch.Tensor) -> NMFState:
        """The model's own start from the first block."""
        streams = Streams.from_seed(
            self._seed, [self._name] * len(power), [power.shape[1]] * len(power), power.device
        )
        state = self._model.init(power, power.new_ones(power.shape[:2]), streams)
        if not isinstance(state, NMFState):
            raise UsageError(
                f"a live stream carries noise spectra on, and {type(self._model).__name__} has none",
                "take the noise model nmf or dictionary",
            )
        return state

    def _update(self, factors: NMFState, power: torch.Tensor, speech: torch.Tensor, times: int) -> NMFState:
        """``times`` M-steps of the model over the window."""
        mask = power.new_ones(power.shape[:2])
        for _ in range(times):
            factors = self._model.update(factors, power, speech, mask.unsqueeze(1).log(), mask)
        return factors

    def _block_factors(self) -> NMFState:
        factors = self._current().factors
        return NMFState(factors.w, factors.h[:, -self._new :])

    def _current(self) -> _Window:
        assert self._window is not None, "begin comes first"
        return self._window


def fitted_activations(
    w: torch.Tensor, variance: torch.Tensor, updates: int = ACTIVATION_UPDATES
) -> torch.Tensor:
    """Activations (n, K) with which spectra w (K, F) approximate a variance (n, F), for a few frames."""
    h = (variance.mean(-1, keepdim=True) / len(w)).expand(-1, len(w))
    for _ in range(updates):
        h = step_of_activations(w, h, variance, None)
    return h


def step_of_activations(
    w: torch.Tensor, h: torch.Tensor, power: torch.Tensor, speech: torch.Tensor | None
) -> torch.Tensor:
    """The majorise-minimise step of :func:`~vae_se.noise.multiplicative.update_h` for a few frames of one
    stream: new activations (n, K).

    w (K, F), h (n, K), power (n, F); ``speech``: its variance (R, n, F) under draws of equal weight, or None.
    """
    noise = (h @ w).clamp_(min=VARIANCE_FLOOR)
    inverse = noise.reciprocal_().unsqueeze(0) if speech is None else (speech + noise).reciprocal_()
    below, above = mean_over_draws(inverse), mean_over_draws(inverse.square()) * power
    return ((above @ w.T) / (below @ w.T).add_(TINY)).sqrt_().mul_(h)


def _follow(before: torch.Tensor, new: torch.Tensor, dim: int) -> torch.Tensor:
    """The last FRAMES frames of both, along dimension ``dim``."""
    joined = torch.cat([before, new], dim)
    excess = max(0, joined.shape[dim] - FRAMES)
    return joined.narrow(dim, excess, joined.shape[dim] - excess)
