"""EM over the segments of many channels: in batches over channels, in order within a channel."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..inference.averaging import Estimate
from ..inference.diagnostics import Diagnostics
from ..inference.monte_carlo_em import MonteCarloEM
from ..noise.continuation import spectra_of, start_from_spectra
from ..noise.noise_segment import learn
from ..rng import Streams
from ..signal_spec import SignalSpec
from ..threads import dividing_work
from .channel import Channel
from .high_band import HighBandFilter
from .results import ChannelInfo, Factors
from .sample_buffer import NewBuffer, SampleBuffer
from .segments import Segment, batches, crossfade, cut

#: Called with the EM iterations done and their total number.
ProgressCallback = Callable[[int, int], None]

#: Padded frames times draws in one EM batch (or a single segment): about a minute of sound with two draws, some
#: tens of megabytes per tensor.
FRAME_BUDGET = 8192


@dataclasses.dataclass(frozen=True)
class ChannelEstimate:
    """What EM estimates for one channel: its ``speech`` (as long as the channel and on its scale), the
    ``diagnostics`` of its segments, its ``posterior`` and the ``presence`` of speech (N,) where those were
    requested, and the speech above the prior's band, ``high``, at the recording's rate, where that is
    enhanced."""

    speech: SampleBuffer
    diagnostics: list[Diagnostics] = dataclasses.field(default_factory=list)
    posterior: ChannelInfo | None = None
    presence: torch.Tensor | None = None
    high: SampleBuffer | None = None


@dataclasses.dataclass(frozen=True)
class SegmentedEM:
    """Runs EM over channels, in segments where they are long.

    ``signal``: rate, STFT and level of the prior. ``segment`` and ``overlap``: length and cross-fade of
    segments in seconds. The noise of a segment starts from the spectra that the segment before it ended with.
    ``noise_segment``: time range of the recording that holds noise alone, from which its spectra are learnt; or
    None. ``seed``: of all random streams. ``threads``: threads that divide the work; None: as many as torch is
    set to use (:mod:`vae_se.threads`). ``one_by_one``: without batches, for factors of a lower precision: their
    rounding magnifies the last bit, in which the rows of a batch depend on each other. ``high_band`` gives the
    filter of what lies above the prior's band, and is called for channels that have such a part; None: the
    channels are prepared without one.
    """

    em: MonteCarloEM
    signal: SignalSpec
    device: torch.device
    seed: int = 0
    segment: float = 30.0
    overlap: float = 2.0
    noise_segment: str | None = None
    threads: int | None = None
    one_by_one: bool = False
    high_band: Callable[[], HighBandFilter] | None = None

    def run(
        self,
        channels: Sequence[Channel],
        names: Sequence[str],
        new_buffer: NewBuffer,
        *,
        keep_posterior: bool = False,
        keep_presence: bool = False,
        progress: ProgressCallback | None = None,
    ) -> list[ChannelEstimate]:
        """Estimate the speech of each channel; ``names`` select their random streams.

        ``new_buffer`` makes the buffers of the speech. Raises UsageError where the overlap does not fit the
        segment.
        """
        with dividing_work(self.threads):
            return self._run(channels, names, new_buffer, keep_posterior, keep_presence, progress)

    def _run(
        self,
        channels: Sequence[Channel],
        names: Sequence[str],
        new_buffer: NewBuffer,
        keep_posterior: bool,
        keep_presence: bool,
        progress: ProgressCallback | None,
    ) -> list[ChannelEstimate]:
        length, overlap = self._lengths_in_frames()
        estimates = [
            self._empty_estimate(channel, new_buffer, keep_posterior, keep_presence) for channel in channels
        ]
        segments = [cut(k, channel.frames, length, overlap) for k, channel in enumerate(channels)]
        groups = list(self._batches(segments))
        spectra: dict[int, torch.Tensor | None] = {}  # of the noise, by channel
        for number, group in enumerate(groups):
            em = self._em_for(channels[group[0].item])
            keys = [f"{names[segment.item]}#{segment.index}" for segment in group]
            known = [spectra.get(segment.item) for segment in group]
            report = _part_of(progress, number, len(groups))
            estimate = self._run_batch(em, channels, group, keys, known, report, keep_presence)
            factors = em.noise.factors(estimate.state.noise)
            for row, segment in enumerate(group):
                channel, found = channels[segment.item], estimates[segment.item]
                weight = crossfade(segments[segment.item], segment.index, overlap, self.device)
                wiener = weight.unsqueeze(-1) * estimate.wiener[row, : segment.frames]
                found.speech.add(*channel.filtered(segment.start, segment.stop, wiener))
                if found.high is not None:
                    found.high.add(*self._high_speech(channel, segment, weight, estimate, factors, row))
                if found.posterior is not None:
                    _add(found.posterior, channel.scale, segment, weight, estimate, factors, row)
                summary = Diagnostics.of_trace(
                    estimate.state.trace, row, segment.frames, em.estep, estimate.rhat
                )
                energies = (channel.scale**2 * estimate.energies[row].double()).tolist()
                filter_sums = estimate.filter_sums[row].tolist()
                if found.presence is not None and estimate.presence is not None:
                    span = slice(segment.start, segment.stop)
                    found.presence[span] += (weight * estimate.presence[row, : segment.frames]).cpu()
                found.diagnostics.append(
                    dataclasses.replace(
                        summary,
                        speech_energy=energies[0],
                        error_energy=energies[1],
                        filter_sum=filter_sums[0],
                        filter_square_sum=filter_sums[1],
                        filter_bins=segment.frames * self.signal.stft.bins,
                    )
                )
                spectra[segment.item] = spectra_of(estimate.state.noise, row)
        return estimates

    def _run_batch(
        self,
        em: MonteCarloEM,
        channels: Sequence[Channel],
        group: Sequence[Segment],
        keys: Sequence[str],
        known: Sequence[torch.Tensor | None],
        progress: ProgressCallback | None,
        presence: bool,
    ) -> Estimate:
        """Run EM on a batch of segments; ``known``: noise spectra of the segments before them, or None."""
        frames = [segment.frames for segment in group]
        power = torch.zeros(len(group), max(frames), self.signal.stft.bins, device=self.device)
        mask = torch.zeros(power.shape[:2], device=self.device)
        for row, segment in enumerate(group):
            power[row, : segment.frames] = channels[segment.item].power(segment.start, segment.stop)
            mask[row, : segment.frames] = 1
        streams = Streams.from_seed(self.seed, keys, frames, self.device)
        return run_em(
            em, power, mask, streams, lambda noise: start_from_spectra(noise, known, mask), progress, presence
        )

    def _high_speech(
        self,
        channel: Channel,
        segment: Segment,
        weight: torch.Tensor,
        estimate: Estimate,
        factors: tuple[torch.Tensor, torch.Tensor] | None,
        row: int,
    ) -> tuple[int, np.ndarray]:
        """The contribution of a segment to the speech above the prior's band: first sample, and samples."""
        assert channel.high is not None, "the channel has no high band"
        assert self.high_band is not None, "a channel has a high band, and there is no filter for it"
        power = channel.power(segment.start, segment.stop)
        speech = estimate.wiener[row, : segment.frames].square() * power
        speech += estimate.variance[row, : segment.frames]
        return self.high_band().filtered(
            channel.high,
            channel.scale,
            slice(segment.start, segment.stop),
            weight,
            speech,
            None if factors is None else factors[1][row, : segment.frames],
        )

    def _empty_estimate(
        self, channel: Channel, new_buffer: NewBuffer, keep_posterior: bool, keep_presence: bool
    ) -> ChannelEstimate:
        posterior = None
        if keep_posterior:
            posterior = ChannelInfo.zeros(channel.frames, channel.stft.bins, self.em.calibration)
        presence = torch.zeros(channel.frames, device="cpu") if keep_presence else None
        high = None if channel.high is None else new_buffer(np.float32, channel.high.samples.size)
        return ChannelEstimate(
            new_buffer(np.float32, channel.samples.size), posterior=posterior, presence=presence, high=high
        )

    def _batches(self, segments: Sequence[Sequence[Segment]]) -> itertools.chain[list[Segment]]:
        """Batches of segments, ordered so that each segment comes after the one before it."""
        rounds = itertools.zip_longest(*segments)
        present = [[segment for segment in row if segment is not None] for row in rounds]
        budget = FRAME_BUDGET // max(2, self.em.estep.draws)
        # With a noise segment, each recording has a noise model of its own.
        if self.one_by_one or self.noise_segment:
            present = [[segment] for row in present for segment in row]
        return itertools.chain.from_iterable(batches(row, budget) for row in present)

    def _em_for(self, channel: Channel) -> MonteCarloEM:
        """The EM loop, with the noise learnt from the channel's noise segment where there is one."""
        if not self.noise_segment:
            return self.em
        learnt = learn(self.noise_segment, channel.power, channel.samples.size, self.signal)
        return dataclasses.replace(self.em, noise=self.em.noise.with_known(learnt))

    def _lengths_in_frames(self) -> tuple[int, int]:
        rate, hop = self.signal.rate, self.signal.hop
        length, overlap = (round(seconds * rate / hop) for seconds in (self.segment, self.overlap))
        if not 1 <= overlap <= length / 3:
            raise UsageError(
                f"segments of {self.segment} s with an overlap of {self.overlap} s",
                "the overlap must be at least one frame and at most a third of the segment",
            )
        return length, overlap


def _part_of(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """Progress of batch ``number`` of ``count`` batches with the same number of iterations."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)


def run_em(
    em: MonteCarloEM,
    power: torch.Tensor,
    mask: torch.Tensor,
    streams: Streams,
    continued: Callable[[Any], Any],
    progress: ProgressCallback | None = None,
    presence: bool = False,
) -> Estimate:
    """Run EM on ``power`` (B, N, F) with valid frames ``mask`` (B, N).

    ``continued`` maps the initial state of the noise model to one that continues the noise of earlier frames.
    """
    state = em.start(power, mask, streams)
    state = dataclasses.replace(state, noise=continued(state.noise))
    return em.run(power, mask, streams, state, progress, presence)


def _add(
    posterior: ChannelInfo,
    scale: float,
    segment: Segment,
    weight: torch.Tensor,
    estimate: Estimate,
    factors: tuple[torch.Tensor, torch.Tensor] | None,
    row: int,
) -> None:
    """Add row ``row`` of an estimate, the frames of ``segment``, cross-faded by ``weight`` (frames,)."""
    valid, column, span = slice(0, segment.frames), weight.unsqueeze(-1), slice(segment.start, segment.stop)
    posterior.wiener[span] += (column * estimate.wiener[row, valid]).cpu()
    posterior.uncertainty[span] += (column * scale * estimate.variance[row, valid].sqrt()).cpu()
    posterior.noise_variance[span] += (column * scale**2 * estimate.noise[row, valid]).cpu()
    posterior.gain[span] += (weight * estimate.state.gain[row, valid]).cpu()
    if factors is not None:
        w, h = factors
        posterior.factors.append(Factors(segment.start, w[row].cpu(), (scale**2 * h[row, valid]).cpu()))
