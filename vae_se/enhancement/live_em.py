"""Incremental EM on a stream: a few E-steps on each block, one M-step over the last second and a half."""

from __future__ import annotations

import torch

from ..errors import UsageError
from ..high_band.bands import LOW_BANDS, low_band_power
from ..inference.estep.vem import Variational
from ..inference.monte_carlo_em import MonteCarloEM
from ..inference.short_block import ShortBlock
from ..inference.wiener import FilterMoments
from ..noise.moving_window import MovingWindow
from ..noisy_encoder.network import NoisyEncoding
from ..noisy_encoder.streaming import EncoderStream, encoder_stream
from ..numerics import POWER_FLOOR
from ..rng import Streams
from .high_band_stream import LowBandSpeech

#: Frames before a block whose speech the decoder of the high band reads, as many as its context.
BANDS_BEFORE = 3


class LiveEM:
    """The filter of one block of frames after the other.

    Latents and noise of a block start from the noisy encoder, which has heard the stream so far and
    ``lookahead`` frames after the block. ``em.iterations`` E-steps on the block alternate with updates of its
    gain and its activations; the filter averages over the draws of the last ``em.averaging`` of them. Then the
    noise spectra take one M-step over a moving window (:class:`~vae_se.noise.moving_window.MovingWindow`). The
    cost of a block does not depend on the look-ahead or on what came before.

    Raises UsageError for a prior that ties the frames together, for a prior without a noisy encoder, for a
    noise model without spectra, and for another E-step than ``vem``.
    """

    def __init__(
        self, em: MonteCarloEM, device: torch.device, block: int, lookahead: int, seed: int, name: str
    ) -> None:
        if not em.prior.factorised:
            raise UsageError(
                "a live stream treats frames as independent, and this prior ties them together",
                "take the prior default, or a stream with --block, --lookahead and --context",
            )
        if em.iterations < 1:
            raise UsageError(f"{em.iterations} iterations in a live stream", "give 1 or more")
        if not isinstance(em.estep, Variational) or not em.prior.standard_normal:
            raise UsageError("a live stream has the E-step vem, for a prior N(0, I)", "leave --estep out")
        self._kernel = em.estep
        self._em, self._block, self._held = em, block, block + lookahead
        self._encoder: EncoderStream = encoder_stream(em.noisy_encoder, self._held)
        self._pool = em.pool
        self._noise = MovingWindow(em.noise, seed, name)
        self._streams = Streams.from_seed(seed, [name], [block], device)
        self._mask = torch.ones(1, block, device=device)
        self._power = torch.zeros(1, 0, em.prior.signal.stft.bins, device=device)  # of frames that wait
        self._encoding: NoisyEncoding | None = None  # of the last frames, at least of those that wait
        self._scale = 1.0
        self._bands = torch.zeros(0, LOW_BANDS, device=device)  # of the last frames
        #: What the last block's filter says about its speech and noise.
        self.found: LowBandSpeech | None = None

    @torch.no_grad()
    def next(self, power: torch.Tensor, scale: float, absent: int = 0) -> torch.Tensor | None:
        """Take the power |x|^2 (block, F) of the next frames; the filter (block, F) of the block that lies
        ``lookahead`` frames before, or None while there is none.

        ``scale``: how many times louder the channel is than the prior's speech. ``absent``: how many of the
        frames lie after the end of the stream; the noisy encoder does not see these, as in a recording.
        """
        self._power, self._scale = torch.cat([self._power, power.unsqueeze(0)], 1), scale
        present = power[: len(power) - absent].unsqueeze(0)
        encoding = self._encoder.push(present + scale**2 * POWER_FLOOR, scale**2)
        for _ in range(absent):  # any encoding will do
            encoding = encoding.followed_by(encoding.frames(slice(-1, None)))
        self._encoding = encoding
        return self._first_block() if self.waiting >= self._held else None

    @torch.no_grad()
    def rest(self) -> torch.Tensor:
        """At the end of the stream: the filter (block, F) of the next block that waits, whose look-ahead ends
        there."""
        return self._first_block()

    @property
    def waiting(self) -> int:
        """Number of frames that have been taken and have no filter yet."""
        return self._power.shape[1]

    def _first_block(self) -> torch.Tensor:
        """The filter (block, F) of the first block of the frames that wait."""
        em, level, waiting = self._em, self._scale**2, self.waiting
        block = self._power[:, : self._block] / level + POWER_FLOOR
        self._power = self._power[:, self._block :]
        assert self._encoding is not None, "a frame that waits has been encoded"
        encoding = self._encoding.frames(slice(-waiting, self._block - waiting or None))
        proposal = em.proposal_of(encoding, block, self._mask)
        self._noise.begin(block, proposal.noise_power, level)
        total = self._run(
            ShortBlock.start(em.prior, self._kernel, em.gain, block, proposal.posterior, proposal.deviation)
        )
        pooled, variance = self._pool(
            (proposal.wiener[0], proposal.variance[0]), (total.mean(), total.variance(block[0]))
        )
        self.found = self._said(pooled.square() * block[0] + variance, self._scale)
        return pooled

    def _said(self, speech: torch.Tensor, scale: float) -> LowBandSpeech:
        """What the block's speech power (n, F) and noise are, with the frames before it."""
        before = len(self._bands)
        bands = torch.cat([self._bands, low_band_power(speech)])
        self._bands = bands[-BANDS_BEFORE:]
        return LowBandSpeech(scale, bands, before, self._noise.activations[0])

    def _run(self, block: ShortBlock) -> FilterMoments:
        """The moments of the filter of the block (1, n, F), after the iterations of EM on it."""
        em = self._em
        total: FilterMoments | None = None
        noise = self._noise.variance[0]
        for number in range(em.iterations):
            block.iterate(noise, self._streams)
            self._noise.refine(block.speech)
            noise = self._noise.variance[0]
            if number >= em.iterations - em.averaging:
                moments = block.moments(noise)
                total = moments if total is None else total + moments
        assert total is not None, "iterations and averaging are at least 1"
        self._noise.end(block.speech)
        return total
