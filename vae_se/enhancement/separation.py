"""EM over the chunks of many channels: side by side in batches, one after the other within a channel."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..errors import UsageError
from ..inference.diagnostics import Diagnostics
from ..inference.monte_carlo_em import MonteCarloEM
from ..noise.continuation import spectra_of, start_from_spectra
from ..noise.noise_segment import learn
from ..rng import Streams
from .channel import Channel
from .segments import Segment, batches, crossfade, cut

Progress = Callable[[int, int], None]

#: Padded frames times draws that one EM batch holds (or a single chunk): about a minute of sound with two
#: draws, some tens of megabytes a tensor.
FRAME_BUDGET = 8192


@dataclasses.dataclass(frozen=True)
class Separator:
    """Runs an EM loop over channels of recordings at the level of ``signal``, a prior's.

    ``segment`` and ``overlap`` in seconds: longer channels are cut into chunks. A chunk's noise starts from the
    spectra that the one before it ended with. ``noise_segment``: part of a recording that holds noise alone, to learn
    that from; or None. Raises UsageError where the overlap is no part of the segment.
    """

    em: MonteCarloEM
    signal: Any
    device: torch.device
    seed: int = 0
    segment: float = 30.0
    overlap: float = 2.0
    noise_segment: str | None = None

    def run(self, channels: Sequence[Channel], names: Sequence[str], progress: Progress | None = None) -> None:
        """Add to the channels what is found, cross-faded; ``names`` pick their random streams."""
        length, overlap = self._in_frames()
        parts = [cut(k, channel.frames, length, overlap) for k, channel in enumerate(channels)]
        groups = list(self._groups(parts))
        spectra: dict[int, torch.Tensor | None] = {}
        for number, group in enumerate(groups):
            report = None
            if progress is not None:

                def report(done: int, total: int, number: int = number) -> None:
                    progress(number * total + done, len(groups) * total)

            em, frames = self._em(channels[group[0].item]), [chunk.frames for chunk in group]
            power = torch.zeros(len(group), max(frames), self.signal.stft.bins, device=self.device)
            mask = torch.zeros(power.shape[:2], device=self.device)
            for row, chunk in enumerate(group):
                power[row, : chunk.frames] = channels[chunk.item].power(chunk.start, chunk.stop)
                mask[row, : chunk.frames] = 1
            keys = [f"{names[chunk.item]}#{chunk.index}" for chunk in group]
            streams = Streams.from_seed(self.seed, keys, frames, self.device)
            state = em.start(power, mask, streams)
            known = [spectra.get(chunk.item) for chunk in group]
            state = dataclasses.replace(state, noise=start_from_spectra(state.noise, known, mask))
            estimate = em.run(power, mask, streams, state, report)
            for row, chunk in enumerate(group):
                channel = channels[chunk.item]
                fade = crossfade(parts[chunk.item], chunk.index, overlap, self.device)
                channel.add(chunk, fade, estimate, row)
                channel.diagnostics.append(
                    Diagnostics.of_trace(estimate.state.trace, row, chunk.frames, em.estep, estimate.rhat)
                )
                spectra[chunk.item] = spectra_of(estimate.state.noise, row)

    def _groups(self, parts: Sequence[Sequence[Segment]]) -> itertools.chain[list[Segment]]:
        """Batches of chunks in an order in which each comes after the one before it."""
        rounds = itertools.zip_longest(*parts)
        present = [[chunk for chunk in chunks if chunk is not None] for chunks in rounds]
        budget = FRAME_BUDGET // max(2, self.em.estep.draws)
        if self.noise_segment:  # what is learnt from a recording is that recording's
            present = [[chunk] for chunks in present for chunk in chunks]
        return itertools.chain.from_iterable(batches(chunks, budget) for chunks in present)

    def _em(self, channel: Channel) -> MonteCarloEM:
        if not self.noise_segment:
            return self.em
        learnt = learn(self.noise_segment, channel.power, channel.samples.size, self.signal)
        return dataclasses.replace(self.em, noise=self.em.noise.with_known(learnt))

    def _in_frames(self) -> tuple[int, int]:
        rate, hop = self.signal.rate, self.signal.hop
        length, shared = (round(seconds * rate / hop) for seconds in (self.segment, self.overlap))
        if not 1 <= shared <= length / 3:
            raise UsageError(
                f"segments of {self.segment} s with an overlap of {self.overlap} s",
                "the overlap is at least one frame and at most a third of the segment",
            )
        return length, shared
