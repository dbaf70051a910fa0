"""What spectra of noise may be held to: gamma and inverse-gamma priors around the recording's own spectrum."""

from __future__ import annotations

import dataclasses

import torch

from ..numerics import TINY
from .multiplicative import NMFState, normalise, spectrum_sums
from .penalties import least
from .weights import Weights


@dataclasses.dataclass(frozen=True)
class SpectrumPrior(Weights):
    """Added to the cost of W (K, F), around a spectrum m (F,); both weights at 0 leave it as it is.

    ``gamma`` c: c sum_fk d(W_fk, m_f) with d(p, v) = p/v - log(p/v) - 1, minus the logarithm of a gamma density
    of shape c + 1 and mode m. Peaks far above m cost much: atoms keep from the lines of a voice.
    ``inverse_gamma`` c: c sum_fk d(m_f, W_fk), that of an inverse-gamma density of shape c - 1 and mode m. Dips
    far below m cost much. c counts as frames of data do.

    As only W H is known, each atom is judged at the scale at which the prior likes it best, which makes the
    cost one of shape alone (docs/noise.md).

    Févotte, Bertin and Durrieu, Nonnegative matrix factorization with the Itakura-Saito divergence, 2009,
    sec. 4, have such priors over time, on H; the mode and the scale are ours.
    """

    gamma: float = 0.0
    inverse_gamma: float = 0.0

    def cost(self, w: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
        """Its value (B,) for spectra (B, K, F) of any scale and m (B, F)."""
        ratio = self._liked(w, mode)
        log = ratio.log()
        return (self.gamma * (ratio - log - 1) + self.inverse_gamma * (1 / ratio + log - 1)).sum((1, 2))

    def _liked(self, w: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
        """W / m (B, K, F), every atom at the scale where the prior is highest.

        Over the scale t of ratios u: gamma (t mean u - log t) + inverse_gamma (mean(1/u) / t + log t).
        """
        ratio = (w / mode.unsqueeze(1)).clamp(min=TINY)
        up, down = self.inverse_gamma * (1 / ratio).mean(-1, keepdim=True), ratio.mean(-1, keepdim=True)
        tilt = torch.full_like(up, self.inverse_gamma - self.gamma)
        return ratio * least(up, self.gamma * down, tilt) if self.gamma else ratio * up / self.inverse_gamma

    def update_w(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech: torch.Tensor,
        weight: torch.Tensor,
        mode: torch.Tensor,
    ) -> NMFState:
        """One majorise-minimise step of the spectra, H held, and W back at mean 1.

        From the scale that the prior likes best each bin takes the minimum of
        alpha / w + beta w + gamma log w; likelihood and prior together do not fall.
        """
        mode = mode.clamp(min=TINY)
        liked = self._liked(state.w, mode) * mode.unsqueeze(1)
        scale = (liked.mean(-1) / state.w.mean(-1)).unsqueeze(1)
        state = NMFState(liked, state.h / scale)
        above, below = spectrum_sums(state, power, speech, weight)
        m = mode.unsqueeze(1)
        alpha = above * liked.square() + self.inverse_gamma * m
        beta = below + self.gamma / m
        tilt = torch.full_like(alpha, self.inverse_gamma - self.gamma)
        return normalise(least(alpha, beta, tilt), state.h)
