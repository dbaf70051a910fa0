"""Low-rank noise: Itakura-Saito non-negative matrix factorisation under weighted draws of the speech."""

from __future__ import annotations

import dataclasses

import torch

from ..errors import UsageError
from ..rng import Streams
from .base import NOISES, NoiseModel
from .multiplicative import (
    NMFState,
    check_init,
    draw_weight,
    init_spectrum,
    normalise,
    product,
    update_h,
    update_w,
)
from .penalties import Penalty
from .spectra import SpectrumPrior


@NOISES.add("nmf")
@dataclasses.dataclass(frozen=True)
class NMF(NoiseModel):
    """b_fn ~ N_c(0, (W H)_fn), rank K.

    Updates (majorise-minimise, hence the exponent 1/2): Leglaive, Girin and Horaud, A variance modeling
    framework based on variational autoencoders for speech enhancement, 2018, eqs. 20 and 21, with the
    mean over draws replaced by the weighted mean. Févotte, Bertin and Durrieu, Nonnegative matrix
    factorization with the Itakura-Saito divergence, 2009, for the model.

    ``rank``: K. ``init_spectrum``: the spectrum around which W starts: "quiet" (the lower fifth of the frames, bin
    by bin), "log-mean" (geometric mean over frames), "tracked" (the mean of what the MMSE tracker finds:
    Gerkmann and Hendriks, 2012) or "mean", times ``init_scale``: a start above the noise
    lets the dictionary take its share first and the speech what is left, which ends in a better basin
    than the reverse (eval/results/start.md). H starts near 1. ``init_jitter``: W and H are multiplied by seeded
    uniform numbers from 1 - init_jitter to 1 + init_jitter, so that atoms differ.

    ``sparsity``, ``smoothness`` and ``relevance`` are the weights of what H is held to
    (:class:`~vae_se.noise.penalties.Penalty`). With relevance, atoms that are not needed fade away: the rank
    is then an upper bound. ``gamma`` and ``inverse_gamma`` are those of priors on W
    (:class:`~vae_se.noise.spectra.SpectrumPrior`), whose mode is the spectrum that ``init_spectrum`` names.
    ``exponent``: of the updates that nothing holds, from 1/2 to 1, which makes longer steps.
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
    exponent: float = 0.5

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"noise rank {self.rank}", "it is at least 1")
        if not 0.5 <= self.exponent <= 1:
            raise UsageError(f"exponent {self.exponent} of the noise's updates", "it is 0.5 to 1")
        check_init(self.init_spectrum, self.init_scale, self.init_jitter)
        self.penalty, self.spectrum_prior  # noqa: B018 - they check their weights

    @property
    def penalty(self) -> Penalty:
        """What H is held to."""
        return Penalty(self.sparsity, self.smoothness, self.relevance)

    @property
    def spectrum_prior(self) -> SpectrumPrior:
        """What W is held to."""
        return SpectrumPrior(self.gamma, self.inverse_gamma)

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """W around a spectrum of the recording, H around 1."""
        bins, dtype = power.shape[-1], power.dtype
        spectrum = init_spectrum(self.init_spectrum, power, mask)
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

    def update(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> NMFState:
        """H, then W, each with fresh statistics, so that neither step lowers the likelihood.

        With a penalty the likelihood less the penalty does not fall in either, and the change of scale that
        follows may move the penalty on H: W's new mean is close to 1. What W is held to does not depend on
        scale.
        """
        weight = draw_weight(log_weight, mask)
        if self.penalty:
            h = self.penalty.update_h(state, power, speech_variance, weight, mask)
        else:
            h = update_h(state, power, speech_variance, weight, self.exponent)
        state = NMFState(state.w, h)
        if self.spectrum_prior:
            mode = init_spectrum(self.init_spectrum, power, mask)
            return self.spectrum_prior.update_w(state, power, speech_variance, weight, mode)
        return normalise(update_w(state, power, speech_variance, weight, exponent=self.exponent), h)
