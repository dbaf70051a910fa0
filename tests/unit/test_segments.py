"""Segments cover everything, share what they must, and fade into each other without a seam."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_se.enhancement.segments import Segment, batches, crossfade, cut


@settings(deadline=None)
@given(frames=st.integers(1, 3000), length=st.integers(4, 400), share=st.floats(0.01, 0.333))
def test_segments_cover_and_weights_add_up(frames, length, share):
    overlap = max(1, int(share * length))
    segments = cut(0, frames, length, overlap)
    assert segments[0].start == 0
    assert segments[-1].stop == frames
    assert all(c.frames <= length for c in segments)
    # No work is done twice beyond the overlaps.
    assert sum(c.frames for c in segments) <= frames + (len(segments) - 1) * overlap + 2 * len(segments)
    assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(segments))
    total = torch.zeros(frames)
    for i, segment in enumerate(segments):
        total[segment.start : segment.stop] += crossfade(segments, i, overlap)
    torch.testing.assert_close(total, torch.ones(frames), rtol=0, atol=1e-5)


def test_batches_keep_to_the_budget_and_lose_nothing():
    segments = [Segment(i, 0, 0, n) for i, n in enumerate([10, 900, 30, 400, 400, 5])]
    grouped = list(batches(segments, 1000))
    assert sorted(c.item for group in grouped for c in group) == list(range(6))
    for group in grouped:
        assert len(group) == 1 or max(c.frames for c in group) * len(group) <= 1000


def test_nothing_to_do():
    assert list(batches([], 10)) == []
    assert cut(0, 5, 10, 2) == [Segment(0, 0, 0, 5)]
