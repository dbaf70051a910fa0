"""The EM of the high band on a stream: block by block, with sums that forget in place of a whole recording."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..numerics import TINY, VARIANCE_FLOOR
from .em import HighBandEM
from .updates import mode, own_activations, quiet_spectrum, ratio

#: Time constant in frames with which the sums forget: 4.8 s at a hop of 16 ms.
MEMORY = 300.0

#: Part of the quiet frames at the start that the own spectra explain. The activations of the low band's noise
#: may rise by 40 dB when the first speech comes; their spectra above the band grow as they prove right.
OWN_SHARE = 0.95

#: The quiet part of so many frames, a quarter of a second, less 6 dB, is noise at the start of a block.
_RECENT, _LEAST = 16, 0.25


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Coefficients of the majoriser alpha / theta + beta theta, for W (K, F) and for c (B,)."""

    w_alpha: torch.Tensor
    w_beta: torch.Tensor
    c_alpha: torch.Tensor
    c_beta: torch.Tensor

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.w_alpha + other.w_alpha, self.w_beta + other.w_beta,
            self.c_alpha + other.c_alpha, self.c_beta + other.c_beta,
        )  # fmt: skip

    def faded(self, keep: float) -> _Sums:
        """All times ``keep``."""
        return _Sums(keep * self.w_alpha, keep * self.w_beta, keep * self.c_alpha, keep * self.c_beta)


@dataclasses.dataclass(frozen=True)
class _Shared:
    """What all frames share: noise spectra W (K, F), response c (B,), the sums over earlier frames, and the
    mean activation of the spectra that only the high band has."""

    w: torch.Tensor
    response: torch.Tensor
    sums: _Sums
    own: float = 1.0


class RunningHighBandEM:
    """The model of :class:`~vae_se.high_band.em.HighBandEM` on the frames of a stream.

    Gains g and own activations are those of a block of frames, and start anew with it. Noise spectra W and
    response c carry on: their majoriser is that of the block and of the earlier frames, whose sums stay as they
    were and fade with the time constant :data:`MEMORY`. Mairal, Stochastic majorization-minimization algorithms
    for large-scale optimization, 2013; for these factors Lefevre, Bach and Fevotte, Online algorithms for
    nonnegative matrix factorization with the Itakura-Saito divergence, 2011.

    ``em``: iterations on every block, number of own spectra, and the priors. ``triangles`` (B, F).
    """

    def __init__(self, em: HighBandEM, triangles: torch.Tensor) -> None:
        self._em, self._triangles = em, triangles
        self._shared: _Shared | None = None
        self._recent = triangles.new_zeros(0, triangles.shape[1])

    def filter(
        self, power: torch.Tensor, log_variance: torch.Tensor, activations: torch.Tensor, rescaled: float
    ) -> torch.Tensor:
        """The posterior filter (N, F) of the next frames.

        ``power`` (N, F); ``log_variance`` (N, B) of the speech, from the decoder; ``activations`` (N, K) of the
        noise in the low band, whose spectra there carry on from block to block; K may be 0. ``rescaled``: the
        factor from the power scale of the block before to that of this one.
        """
        em, triangles, power = self._em, self._triangles, power + VARIANCE_FLOOR
        self._recent = torch.cat([self._recent * rescaled, power])[-max(_RECENT, len(power)) :]
        shared = self._start(activations) if self._shared is None else self._shared
        past, free = shared.sums, slice(-em.own, None)
        level = max(shared.own * rescaled, self._least_own(shared, activations))
        own = own_activations(len(power), em.own).to(power) * level
        speech, h = log_variance.exp(), torch.cat([activations, own], 1)
        gain = torch.ones_like(speech)
        for _ in range(em.iterations):
            above, below = _ratios(power, shared.response * gain * speech @ triangles + h @ shared.w)
            up, down = above @ triangles.T, below @ triangles.T
            sums = past + _sums(shared, h, gain * speech, (above, below), (up, down))
            spectra, share = shared.w[free].T, shared.response * speech
            h = torch.cat([activations, h[:, free] * ratio(above @ spectra, below @ spectra)], 1)
            gain = mode(gain, share * up, share * down, em.concentration)
            shared = dataclasses.replace(
                shared,
                w=((sums.w_alpha + TINY) / (sums.w_beta + TINY)).sqrt_(),
                response=mode(
                    torch.ones_like(shared.response), sums.c_alpha, sums.c_beta, em.response_concentration
                ),
            )
        part = shared.response * gain * speech @ triangles
        variance = part + h @ shared.w
        above, below = _ratios(power, variance)
        bands = above @ triangles.T, below @ triangles.T
        sums = past + _sums(shared, h, gain * speech, (above, below), bands)
        self._shared = _Shared(
            shared.w, shared.response, sums.faded(math.exp(-len(power) / MEMORY)), float(h[:, free].mean())
        )
        return part / variance.clamp(min=VARIANCE_FLOOR)

    def _least_own(self, shared: _Shared, activations: torch.Tensor) -> float:
        """The activation of the own spectra in the quiet part of the last frames, if that is noise.

        Spectra of very quiet noise, such as digital silence, would not follow noise that begins later: the
        speech would explain it first.
        """
        known, own = shared.w[: activations.shape[1]], shared.w[-self._em.own :].sum(0)
        rest = quiet_spectrum(self._recent) - activations.mean(0) @ known
        return _LEAST * float((rest / own.clamp(min=TINY)).median())

    def _start(self, activations: torch.Tensor) -> _Shared:
        """The quiet frames of the first block, divided among the spectra."""
        spectrum, others = quiet_spectrum(self._recent), activations.shape[1]
        known = activations.mean(0).clamp(min=TINY) * (others / (1 - OWN_SHARE))
        levels = torch.cat([known, activations.new_full((self._em.own,), self._em.own / OWN_SHARE)])
        w, bands = spectrum / levels.unsqueeze(1), spectrum.new_zeros(len(self._triangles))
        zeros = torch.zeros_like(w)
        return _Shared(w, torch.ones_like(bands), _Sums(zeros, zeros, bands, bands))


def _ratios(power: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """|x|^2 / V^2 and 1 / V."""
    below = variance.clamp(min=VARIANCE_FLOOR).reciprocal()
    return below.square() * power, below


def _sums(
    shared: _Shared,
    h: torch.Tensor,
    share: torch.Tensor,
    bins: tuple[torch.Tensor, torch.Tensor],
    bands: tuple[torch.Tensor, torch.Tensor],
) -> _Sums:
    """The sums over the frames of a block; ``share`` (N, B) is g v, ``bins`` and ``bands`` hold |x|^2 / V^2 and
    1 / V."""
    return _Sums(
        shared.w.square() * (h.T @ bins[0]),
        h.T @ bins[1],
        shared.response.square() * (share * bands[0]).sum(0),
        (share * bands[1]).sum(0),
    )
