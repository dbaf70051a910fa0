"""EM in the high band: speech variance from the decoder, noise whose activations are those of the low band."""

from __future__ import annotations

import dataclasses

import torch

from ..blocks import frame_blocks
from ..errors import UsageError
from ..numerics import TINY, VARIANCE_FLOOR
from ..threads import each
from .updates import mode, own_activations, quiet_spectrum, ratio


@dataclasses.dataclass(frozen=True)
class HighBandEM:
    """x_fn ~ N_c(0, sum_b T_bf c_b g_nb v_nb + (W H)_fn) above the prior's band.

    v_nb = exp(eta_nb) is the decoder's speech variance in band b, T the triangles of the bands. c_b is the
    recording's own response in the band (microphone, codec, band limit), g_nb the gain of a frame and band.
    Both have the prior c (log g - g) of :class:`~vae_se.inference.gain.Gain`, a gamma density with its mode at
    1. The columns of H are the activations of the noise in the low band, and ``own`` further ones that only the
    high band has; W are the spectra above the band.

    All updates are the majorise-minimise updates of docs/noise.md, with exponent 1/2. They are made at once:
    the majoriser is a sum over components, one part for each band and each noise spectrum.

    ``concentration`` of the gain: in bins of the STFT; ``response_concentration`` of the response: in frames
    times bins.
    """

    iterations: int = 12
    own: int = 1
    concentration: float = 3.0
    response_concentration: float = 100.0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.own < 1:
            raise UsageError(
                f"{self.iterations} iterations and {self.own} noise spectra of the high band",
                "1 or more of each",
            )

    def filter(
        self,
        power: torch.Tensor,
        log_variance: torch.Tensor,
        triangles: torch.Tensor,
        activations: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The posterior filter (N, F): E[s | x] = filter * x.

        ``power`` (N, F) of the recording; ``log_variance`` (N, B) of the speech, from the decoder;
        ``triangles`` (B, F); ``activations`` (N, K) of the noise in the low band, or None.
        """
        power = power + VARIANCE_FLOOR
        speech = log_variance.exp()
        state = _State(
            torch.ones_like(speech[0]), torch.ones_like(speech), *self._initial_noise(power, activations)
        )
        for _ in range(self.iterations):
            state = self._step(power, speech, triangles, state)
        bands = state.response * state.gain * speech
        wiener = torch.empty_like(power)

        def of_block(frames: slice) -> None:
            part = bands[frames] @ triangles
            noise = (state.h[frames] @ state.w).clamp_(min=VARIANCE_FLOOR)
            torch.div(part, noise.add_(part), out=wiener[frames])

        each(of_block, frame_blocks(power[None, None]))
        return wiener

    def _step(
        self, power: torch.Tensor, speech: torch.Tensor, triangles: torch.Tensor, state: _State
    ) -> _State:
        """One update of everything."""
        free = slice(state.h.shape[1] - self.own, None)
        bands, h = state.response * state.gain * speech, state.h.clone()
        up, down = torch.empty_like(speech), torch.empty_like(speech)

        def of_block(frames: slice) -> tuple[torch.Tensor, torch.Tensor]:
            """Sums of 1 / V and |x|^2 / V^2: over the bins of bands and of free spectra, and over frames."""
            activations = state.h[frames]
            variance = torch.addmm(bands[frames] @ triangles, activations, state.w)
            below = variance.clamp_(min=VARIANCE_FLOOR).reciprocal_()
            above = torch.square(below).mul_(power[frames])
            torch.mm(above, triangles.T, out=up[frames])
            torch.mm(below, triangles.T, out=down[frames])
            own = state.w[free].T
            h[frames, free] *= ratio(above @ own, below @ own)
            return activations.T @ above, activations.T @ below

        sums = each(of_block, frame_blocks(power[None, None]))
        above, below = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
        w = state.w * ratio(above, below)
        share = state.gain * speech
        response = mode(state.response, (share * up).sum(0), (share * down).sum(0), self.response_concentration)
        share = state.response * speech
        gain = mode(state.gain, share * up, share * down, self.concentration)
        return _State(response, gain, w, h)

    def _initial_noise(
        self, power: torch.Tensor, activations: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """W (K, F) at the power that a bin exceeds in four frames of five; H (N, K), columns of mean 1."""
        quiet = quiet_spectrum(power)
        columns = [own_activations(len(power), self.own).to(power)]
        if activations is not None:
            columns.insert(0, activations / activations.mean(0).clamp(min=TINY))
        h = torch.cat(columns, 1)
        return quiet.expand(h.shape[1], -1) / h.shape[1], h


@dataclasses.dataclass(frozen=True)
class _State:
    """Response c (B,), gain g (N, B), noise spectra W (K, F) and activations H (N, K)."""

    response: torch.Tensor
    gain: torch.Tensor
    w: torch.Tensor
    h: torch.Tensor
