"""Low-rank noise: Itakura-Saito non-negative matrix factorisation under weighted draws of the speech."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch.nn import functional

from ..errors import UsageError
from ..numerics import FIT_UPDATES, TINY
from ..rng import Streams
from .activation_penalty import ActivationPenalty
from .base import NOISES, NoiseModel
from .multiplicative import (
    NMFState,
    check_init,
    draw_weight,
    initial_spectrum,
    normalise,
    product,
    update_h,
    update_w,
)
from .spectrum_prior import SpectrumPrior

#: The fit to a given variance takes means of _TOGETHER frames at first, and the frames themselves in the _LAST
#: updates. It takes half the time that way, and loses nothing that 72 mixtures show (eval/experiments.md).
_TOGETHER, _LAST = 3, 3


@NOISES.add("nmf")
@dataclasses.dataclass(frozen=True)
class NMF(NoiseModel[NMFState]):
    """b_fn ~ N_c(0, (W H)_fn), rank K.

    The model is that of Févotte, Bertin and Durrieu, Nonnegative matrix factorization with the Itakura-Saito
    divergence, 2009. The majorise-minimise updates, with exponent 1/2, are those of Leglaive, Girin and Horaud,
    A variance modeling framework based on variational autoencoders for speech enhancement, 2018, with the mean
    over draws replaced by the weighted mean, and by default with exponent 1.

    ``rank``: K. ``init_spectrum``: the spectrum at which W starts: "quiet" (the lowest fifth of the frames,
    bin by bin), "log-mean" (geometric mean over frames), "tracked" (mean of the MMSE tracker's estimate) or
    "mean". ``init_scale``: a factor of that spectrum; above 1 the noise starts too loud, which ends in better
    optima than starting too quiet (eval/results/start.md). H starts at 1. ``init_jitter`` j: W and H are
    multiplied by seeded uniform numbers from 1 - j to 1 + j, so that the atoms differ; then W is normalised to
    a mean of 1, and H takes the scale.

    ``sparsity``, ``smoothness`` and ``relevance`` are the weights of the penalties on H
    (:class:`~vae_se.noise.activation_penalty.ActivationPenalty`). With ``relevance``, atoms that are not
    needed decay to zero, and ``rank`` is an upper bound. ``gamma`` and ``inverse_gamma`` are the weights of
    the priors on W (:class:`~vae_se.noise.spectrum_prior.SpectrumPrior`), whose mode is the spectrum named by
    ``init_spectrum``. ``exponent``: exponent of the updates without penalty or prior, from 1/2 to 1; a larger
    one makes longer steps.

    Raises UsageError for a setting outside its range.
    """

    rank: int = 8
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    sparsity: float = 0.0
    smoothness: float = 0.0
    relevance: float = 0.0
    gamma: float = 0.0
    inverse_gamma: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"noise rank {self.rank}", "it is at least 1")
        if not 0.5 <= self.exponent <= 1:
            raise UsageError(f"noise.exponent = {self.exponent}", "it is 0.5 to 1")
        check_init(self.init_spectrum, self.init_scale, self.init_jitter)
        self.penalty, self.spectrum_prior  # noqa: B018 - constructing them checks the weights

    @property
    def penalty(self) -> ActivationPenalty:
        """The penalty on H."""
        return ActivationPenalty(self.sparsity, self.smoothness, self.relevance)

    @property
    def spectrum_prior(self) -> SpectrumPrior:
        """The prior on W."""
        return SpectrumPrior(self.gamma, self.inverse_gamma)

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """W near a spectrum of the recording and H near 1, then normalised: the scale of W goes to H."""
        bins, dtype = power.shape[-1], power.dtype
        spectrum = initial_spectrum(self.init_spectrum, power, mask, self.signal)
        jitter_w = 1 + self.init_jitter * (2 * streams.uniform_table(self.rank, bins, dtype=dtype) - 1)
        jitter_h = 1 + self.init_jitter * (2 * streams.uniform(self.rank, dtype=dtype) - 1)
        w = self.init_scale * spectrum.unsqueeze(1) * jitter_w / self.rank
        return normalise(w, jitter_h * mask.unsqueeze(-1))

    def factors(self, state: NMFState) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra W (B, K, F) and activations H (B, N, K)."""
        return state.w, state.h

    def variance(self, state: NMFState) -> torch.Tensor:
        """W H, (B, N, F)."""
        return product(state)

    def other_initialisations(self) -> Sequence[NoiseModel[NMFState]]:
        """The model that starts at the tracked spectrum, unless this one does."""
        return [] if self.init_spectrum == "tracked" else [dataclasses.replace(self, init_spectrum="tracked")]

    def start_at(self, state: NMFState, variance: torch.Tensor, mask: torch.Tensor) -> NMFState:
        """See the base class; without a penalty on H and a prior on W with fewer passes over ``variance``: all
        updates but the last few see means of _TOGETHER frames, whose activations then start each of them."""
        if self.penalty or self.spectrum_prior:
            return super().start_at(state, variance, mask)
        means = _means(variance, mask).clamp_(min=TINY)
        coarse = self._fitted(NMFState(state.w, _means(state.h, mask)), means, FIT_UPDATES - _LAST)
        h = coarse.h.repeat_interleave(_TOGETHER, 1)[:, : variance.shape[1]] * mask.unsqueeze(-1)
        return self._fitted(NMFState(coarse.w, h), variance, _LAST)

    def _fitted(self, state: NMFState, variance: torch.Tensor, updates: int) -> NMFState:
        """``state`` after ``updates`` steps of H and W towards ``variance`` (B, N, F)."""
        for _ in range(updates):
            h = update_h(state, variance, None, None, self.exponent)
            state = NMFState(state.w, h)
            state = normalise(update_w(state, variance, None, None, exponent=self.exponent), h)
        return state

    def update(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> NMFState:
        """Update H, then W; each step recomputes the statistics, so that neither decreases the likelihood.

        With a penalty, the likelihood minus the penalty does not decrease in either step. The normalisation
        afterwards may change the penalty on H slightly, as W is close to mean 1 already. The prior on W does
        not depend on the scale of W.
        """
        weight = draw_weight(log_weight, mask)
        if self.penalty:
            h = self.penalty.update_h(state, power, speech_variance, weight, mask)
        else:
            h = update_h(state, power, speech_variance, weight, self.exponent)
        state = NMFState(state.w, h)
        if self.spectrum_prior:
            mode = initial_spectrum(self.init_spectrum, power, mask, self.signal)
            return self.spectrum_prior.update_w(state, power, speech_variance, weight, mode)
        return normalise(update_w(state, power, speech_variance, weight, exponent=self.exponent), h)


def _means(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Means of _TOGETHER frames of ``values`` (B, N, F), over the frames that are valid."""
    short = -values.shape[1] % _TOGETHER
    weight = functional.pad(mask, (0, short)).unflatten(1, (-1, _TOGETHER)).unsqueeze(-1)
    groups = functional.pad(values, (0, 0, 0, short)).unflatten(1, (-1, _TOGETHER))
    return (groups * weight).sum(2) / weight.sum(2).clamp(min=1)
