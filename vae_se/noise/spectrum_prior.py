"""Gamma and inverse-gamma priors on the spectra of noise, around a spectrum of the recording itself."""

from __future__ import annotations

import dataclasses

import torch

from ..numerics import TINY
from .activation_penalty import PenaltyWeights, minimiser
from .multiplicative import NMFState, normalise, spectrum_sums


@dataclasses.dataclass(frozen=True)
class SpectrumPrior(PenaltyWeights):
    """A cost added to the negative log-likelihood of W (K, F), around a spectrum m (F,).

    ``gamma`` c: c sum_fk d(W_fk, m_f) with d(p, v) = p/v - log(p/v) - 1. This is minus the log-density of a
    gamma distribution of shape c + 1 and mode m. It penalises peaks far above m, such as the harmonics of a
    voice. ``inverse_gamma`` c: c sum_fk d(m_f, W_fk), minus the log-density of an inverse-gamma distribution
    of shape c - 1 and mode m. It penalises dips far below m. A weight c counts as much as c frames of data.

    The data determine W H but not the scale of W. The cost of an atom is therefore its least cost over all
    scales, and depends on the shape of the spectrum alone (docs/noise.md).

    Févotte, Bertin and Durrieu, Nonnegative matrix factorization with the Itakura-Saito divergence, 2009, put
    such priors on H, between neighbouring frames; the mode m and the treatment of the scale are this
    project's.
    """

    gamma: float = 0.0
    inverse_gamma: float = 0.0

    def cost(self, w: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
        """The cost (B,) of spectra (B, K, F) of any scale, with m (B, F)."""
        ratio = self._rescaled(w, mode)
        log = ratio.log()
        return (self.gamma * (ratio - log - 1) + self.inverse_gamma * (1 / ratio + log - 1)).sum((1, 2))

    def _rescaled(self, w: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
        """W / m (B, K, F), each atom at the scale of least cost.

        The cost of ratios u at scale t is gamma (t mean u - log t) + inverse_gamma (mean(1/u) / t + log t).
        """
        ratio = (w / mode.unsqueeze(1)).clamp(min=TINY)
        up, down = self.inverse_gamma * (1 / ratio).mean(-1, keepdim=True), ratio.mean(-1, keepdim=True)
        tilt = torch.full_like(up, self.inverse_gamma - self.gamma)
        if self.gamma:
            return ratio * minimiser(up, self.gamma * down, tilt)
        return ratio * up / self.inverse_gamma

    def update_w(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        weight: torch.Tensor,
        mode: torch.Tensor,
    ) -> NMFState:
        """One majorise-minimise step of the spectra with H held fixed, then normalisation of W to mean 1.

        Each atom first takes the scale of least cost; then each bin moves to the minimum of
        alpha / w + beta w + gamma log w. The sum of log-likelihood and log-prior does not decrease.
        """
        mode = mode.clamp(min=TINY)
        rescaled = self._rescaled(state.w, mode) * mode.unsqueeze(1)
        scale = (rescaled.mean(-1) / state.w.mean(-1)).unsqueeze(1)
        state = NMFState(rescaled, state.h / scale)
        above, below = spectrum_sums(state, power, speech_variance, weight)
        m = mode.unsqueeze(1)
        alpha = above * rescaled.square() + self.inverse_gamma * m
        beta = below + self.gamma / m
        tilt = torch.full_like(alpha, self.inverse_gamma - self.gamma)
        return normalise(minimiser(alpha, beta, tilt), state.h)
